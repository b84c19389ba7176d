"""Waivers of failures, each with an owner, a bug and a day of expiry. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from envmatrix.errors import Position


@dataclass(frozen=True, slots=True)
class Waiver:
    """`test` matches the names of tests, and of steps that failed as `step:compile`."""

    test: str
    library: str
    cell: str
    owner: str
    bug: str
    expires: date
    position: Position

    def covers(self, library: str, cell: str, test: str) -> bool:
        return all(
            fnmatch.fnmatchcase(name, pattern)
            for name, pattern in ((library, self.library), (cell, self.cell), (test, self.test))
        )

    def has_expired(self, today: date) -> bool:
        return today > self.expires


def waiver_of(
    waivers: Sequence[Waiver], library: str, cell: str, test: str, today: date
) -> Waiver | None:
    """Return the first waiver that covers a failure and has not expired."""
    covering = (waiver for waiver in waivers if waiver.covers(library, cell, test))
    return next((waiver for waiver in covering if not waiver.has_expired(today)), None)
