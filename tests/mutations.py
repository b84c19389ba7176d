"""Changes of files at random: of what they say, of their structure, and of their bytes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

# What stands for a value of any kind.
VALUES: Sequence[Any] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\0",
    "\ud800",
    "\u202e\x1b[31m",
    "::error::owned",
    "a" * 5_000,
    "../../../../etc/passwd",
    "/etc/passwd",
    "*/**/*",
    "%s%n{0}{x}${jndi}",
    "[]",
    [],
    {},
    [[[]]],
    {"a": {"b": []}},
    ["a", 1, None],
)
# What stands for a token of text.
TOKENS: Sequence[bytes] = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\x1b[31m",
    b"\r\n",
    b"\n",
    b"\t",
    b"'",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"- ",
    b"&a *a",
    b"*a",
    b"!!python/object:os.system",
    b"<<: ",
    b"<a>",
    b"&lt;",
    b"&#0;",
    b"<!--",
    b"]]>",
    b"#",
    b"%",
    b"1e999",
    b"nan",
    b"-1",
    b"9" * 5_000,
    b"0x",
    b"../" * 50,
    b"a" * 10_000,
    b"[" * 3_000,
    b"{a: " * 1_000,
    "\u2028\u202e\U0001f600".encode(),
)
_LARGEST = 1 << 20
_TOKEN = re.compile(rb"[\w.+-]+|[^\w\s]|\s+")


def mutated(content: bytes, source: random.Random) -> bytes:
    """Return the content after one to four changes."""
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        content = source.choice(_CHANGES)(content, source)[:_LARGEST]
    return content


def _bytes(content: bytes, source: random.Random) -> bytes:
    """Change, add and take away single bytes."""
    changed = bytearray(content or b"x")
    for _ in range(source.choice((1, 2, 8, 64))):
        place = source.randrange(len(changed))
        changed[place : place + source.randrange(3)] = bytes([source.randrange(256)])
        changed = changed or bytearray(b"x")
    return bytes(changed)


def _token(content: bytes, source: random.Random) -> bytes:
    tokens = _TOKEN.findall(content) or [b""]
    for _ in range(source.choice((1, 1, 3))):
        tokens[source.randrange(len(tokens))] = source.choice(TOKENS)
    return b"".join(tokens)


def _lines(content: bytes, source: random.Random) -> bytes:
    """Take away, repeat, move or indent a line."""
    lines = content.split(b"\n")
    place, other = source.randrange(len(lines)), source.randrange(len(lines))
    match source.randrange(5):
        case 0:
            del lines[place]
        case 1:
            lines[place:place] = [lines[place]] * source.choice((1, 2, 500))
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3:
            lines[place] = b"  " + lines[place]
        case _:
            lines[place] = lines[place] + lines[other]
    return b"\n".join(lines)


def _cut(content: bytes, source: random.Random) -> bytes:
    return content[: source.randrange(len(content) + 1)]


def _whole(_: bytes, source: random.Random) -> bytes:
    """Return something else altogether."""
    size = source.choice((0, 1, 100, 100_000))
    return source.choice((b"\0", b"[", b"{", b"<a>", b"- ", b"\xff", b"a", b"\n")) * size


def _structure(content: bytes, source: random.Random) -> bytes:
    """Change a value, a key or the order somewhere in JSON, or in lines of it."""
    try:
        lines = content.split(b"\n") if b"}\n{" in content else [content]
        place = source.randrange(len(lines))
        document = json.loads(lines[place])
    except (ValueError, RecursionError):
        return _token(content, source)
    lines[place] = json.dumps(_with_change(document, source)).encode()
    return b"\n".join(lines)


def _with_change(value: Any, source: random.Random) -> Any:
    """Return the value with a change of itself, or of one that it contains."""
    if source.random() < 0.7:
        if isinstance(value, dict) and value:
            key = source.choice(list(value))
            match source.randrange(6):
                case 0:
                    return {name: item for name, item in value.items() if name != key}
                case 1:
                    return {**value, str(source.choice(VALUES)): value[key]}
            return {**value, key: _with_change(value[key], source)}
        if isinstance(value, list) and value:
            place = source.randrange(len(value))
            match source.randrange(6):
                case 0:
                    return [*value[:place], *value[place + 1 :]]
                case 1:
                    return [*value, value[place]]
            return [*value[:place], _with_change(value[place], source), *value[place + 1 :]]
    return source.choice(VALUES)


_CHANGES: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _bytes,
    _token,
    _token,
    _lines,
    _cut,
    _structure,
    _structure,
    _structure,
    _whole,
)
