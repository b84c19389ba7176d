"""The text of a converted matrix.yaml: compact, the same for equal values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from envmatrix.text import one_line

_HEAD = """\
# yaml-language-server: $schema=./matrix.schema.json
"""
# Words that YAML reads as text without quotes, and people as well.
_PLAIN = re.compile(r"[A-Za-z_][\w./@+-]*", re.ASCII)
_NULLS = ("null", "yes", "no", "on", "off", "true", "false", "y", "n")
_WIDTH = 100


def matrix_text(document: Mapping[str, object], comments: Sequence[str]) -> str:
    """Return the text of a matrix with comments at its beginning."""
    head = "".join(f"# {one_line(comment)}\n" for comment in comments)
    parts = ['version: "1"']
    parts += ("\n".join(_entry(key, value, 0)) for key, value in document.items())
    return _HEAD + head + "\n\n".join(parts) + "\n"


def _entry(key: str, value: object, depth: int) -> Iterator[str]:
    """Yield the lines of a key: one if the value has room in it."""
    indent = "  " * depth
    line = f"{indent}{_scalar(key)}: {_flow(value)}"
    is_short = len(line) <= _WIDTH and depth > 0
    if is_short or not isinstance(value, Mapping | list) or not value:
        yield line
        return
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield line if len(line) <= _WIDTH else "\n".join(_wrapped(key, value, indent))
        return
    yield f"{indent}{_scalar(key)}:"
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _entry(name, entry, depth + 1)
    else:
        for item in value:
            yield from _item(item, depth + 1)


def _item(value: object, depth: int) -> Iterator[str]:
    indent = "  " * depth
    line = f"{indent}- {_flow(value)}"
    if len(line) <= _WIDTH or not isinstance(value, Mapping):
        yield line
        return
    marker = "- "
    for key, entry in value.items():
        first, *rest = _entry(key, entry, depth + 1)
        yield f"{indent}{marker}{first.lstrip()}"
        yield from rest
        marker = "  "


def _wrapped(key: str, items: Sequence[str], indent: str) -> Iterator[str]:
    """Yield a list of texts in lines that have room."""
    line = f"{indent}{_scalar(key)}: ["
    for number, item in enumerate(items):
        text = _scalar(item) + ("]" if number == len(items) - 1 else ",")
        if len(line) + len(text) + 1 > _WIDTH and not line.endswith("["):
            yield line
            line = f"{indent}    {text}"
        else:
            line += text if line.endswith("[") else f" {text}"
    yield line


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        rows = (f"{_scalar(key)}: {_flow(entry)}" for key, entry in value.items())
        return f"{{{', '.join(rows)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(str(value))


def _scalar(text: str) -> str:
    if text == "." or (_PLAIN.fullmatch(text) and text.lower() not in _NULLS):
        return text
    return json.dumps(one_line(text), ensure_ascii=False)
