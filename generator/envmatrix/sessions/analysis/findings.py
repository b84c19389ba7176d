"""Findings of analysers, and their comparison with a baseline. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Message of a tool, at a place in a file if it has one; `line` counts from 1, 0 without one.
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
        """A hash that stays the same when lines around the finding change."""
        words = (self.tool, self.rule, self.file, without_numbers(self.message))
        return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).hexdigest()[:16]


def without_numbers(text: str) -> str:
    """Replace numbers and addresses, which differ between runs, by 0."""
    return re.sub(r"0x[0-9a-f]+|\d+", "0", text)


def compare_findings(findings: Sequence[Finding], baseline: Iterable[str]) -> tuple[Finding, ...]:
    """Return unique findings, marked as new if a baseline of identities does not have them. A
    repetition of a known finding is not new: lines move, and tools repeat themselves."""
    identities = set(baseline)
    unique = dict.fromkeys(findings)
    return tuple(replace(finding, is_new=finding.identity not in identities) for finding in unique)
