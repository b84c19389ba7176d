"""What analysers find, and what of it is new. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a tool has to say about a place, if it is about one; `line` counts from 1, 0 is none.
    `is_new` if the baseline does not have it."""

    tool: str
    rule: str
    message: str
    file: str = ""
    line: int = 0
    level: Level = "warning"
    is_new: bool = True

    @property
    def identity(self) -> str:
        """What stays the same while lines around it come and go."""
        words = (self.tool, self.rule, self.file, without_numbers(self.message))
        return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).hexdigest()[:16]


def without_numbers(text: str) -> str:
    """Addresses among them, which are others in every run."""
    return re.sub(r"0x[0-9a-f]+|\d+", "0", text)


def compared(found: Sequence[Finding], known: Iterable[str]) -> tuple[Finding, ...]:
    """`found`, each once, with whether it is new to a baseline of identities. Of what a baseline
    has once, a second one is not new: lines move, and tools repeat themselves."""
    identities = set(known)
    unique = dict.fromkeys(found)
    return tuple(replace(its, is_new=its.identity not in identities) for its in unique)
