"""The order of Debian's versions. Pure.

https://www.debian.org/doc/debian-policy/ch-controlfields.html#version
"""

from __future__ import annotations

import re
from functools import total_ordering
from itertools import zip_longest

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")


@total_ordering
class DebianVersion:
    """A version as dpkg compares it."""

    def __init__(self, text: str) -> None:
        epoch, _, rest = text.rpartition(":")
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
        self._key = (int(epoch) if epoch.isdecimal() else 0, upstream, revision)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DebianVersion) and self._compare(other) == 0

    def __lt__(self, other: DebianVersion) -> bool:
        return self._compare(other) < 0

    def __hash__(self) -> int:
        return hash(self._key)

    def _compare(self, other: DebianVersion) -> int:
        (epoch, *texts), (other_epoch, *others) = self._key, other._key
        if epoch != other_epoch:
            return -1 if epoch < other_epoch else 1
        signs = (_compare(str(left), str(right)) for left, right in zip(texts, others, strict=True))
        return next((sign for sign in signs if sign), 0)


def _compare(left: str, right: str) -> int:
    pairs = zip_longest(_PARTS.findall(left), _PARTS.findall(right), fillvalue=("", ""))
    for (text, digits), (other_text, other_digits) in pairs:
        keys = (_letters(text), int(digits or 0)), (_letters(other_text), int(other_digits or 0))
        if keys[0] != keys[1]:
            return -1 if keys[0] < keys[1] else 1
    return 0


def _letters(text: str) -> tuple[int, ...]:
    """Return a sort key: `~` before the end, the end before letters, letters before all else."""
    return (
        *(-1 if char == "~" else ord(char) + (0 if char.isalpha() else 256) for char in text),
        0,
    )
