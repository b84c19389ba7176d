"""Releases of Python in cells: the values of the axis `python`, and what they mean in a cell.

A cell has the Python of its operating system, or another release, which is compiled. The name of a
release without the GIL has `t` at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from envmatrix.facts.model import Facts
from envmatrix.facts.versions import version_key
from envmatrix.matrix.cells import Candidate, gil_release
from envmatrix.suggestions import did_you_mean

DEFAULT = "default"
PYTHON = r"^(default|newest|oldest|3\.[1-9]?[0-9]t?)$"

_WORDS = (DEFAULT, "newest", "oldest")
_OTHER_WORDS = {"latest": "newest", "max": "newest", "min": "oldest", "first": "oldest"}
_NAME = re.compile(
    r"(?:c?python|cp|py)?[ _-]?3(?P<dot>\.?)(?P<minor>[0-9]{1,2})(?:\.[0-9x*]+)?"
    r"(?P<suffix>t|-freethreading|-nogil)?",
    re.ASCII,
)


def suggest_release(text: str) -> str | None:
    """Return a hint for another name of a release, such as `python3.14`, `cp314t` and `3.14.2`;
    else None."""
    words = text.strip().lower()
    if name := _NAME.fullmatch(words):
        return f"did you mean `3.{int(name['minor'])}{'t' if name['suffix'] else ''}`?"
    if words in _OTHER_WORDS:
        return f"did you mean `{_OTHER_WORDS[words]}`?"
    return did_you_mean(words, _WORDS)


def python_of(cell: Candidate, facts: Facts) -> str | None:
    """Return the release of Python in a cell, None if that is not known."""
    return cell.python or facts.os[cell.os].python


def resolve_pythons(values: Sequence[str], os: str, facts: Facts) -> Mapping[str | None, str]:
    """Return the releases that values mean in an operating system, None for its own, each with its
    first value."""
    resolved: dict[str | None, str] = {}
    for value in values:
        resolved.setdefault(python_in(value, os, facts), value)
    return resolved


def python_in(value: str, os: str, facts: Facts) -> str | None:
    """Return the release that a value means in an operating system, None for its own."""
    if value == DEFAULT or os not in facts.os:
        return None if value in _WORDS else value
    system = facts.os[os]
    compiled = facts.pythons if system.python_libraries else ()
    releases = sorted(filter(None, {system.python, *compiled}), key=version_key)
    ends = {"oldest": releases[:1], "newest": releases[-1:]}
    (release,) = ends.get(value, [value]) or [None]
    return None if release == system.python else release


def nearest_python(release: str, facts: Facts) -> str | None:
    """Return the nearest release that can be compiled, without the GIL like `release` if any is."""
    is_free = release != gil_release(release)
    names = [row.release for row in facts.pythons.values() if row.free_threaded or not is_free]
    minor = version_key(gil_release(release))[-1]
    nearest = min(
        sorted(names, key=version_key, reverse=True),
        key=lambda name: abs(version_key(name)[-1] - minor),
        default=None,
    )
    return f"{nearest}t" if nearest and is_free else nearest
