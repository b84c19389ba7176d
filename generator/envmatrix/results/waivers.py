"""Waivers of failures, each with an owner, a bug and a day of expiry: waivers.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from envmatrix.documents import load_document
from envmatrix.errors import ConfigurationError, Position
from envmatrix.matrix.scalars import Some, Text
from envmatrix.matrix.validation import read_document
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Place

FILE = "waivers.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A failure that fails nothing until its day has passed. `test` matches the names of tests, and
    of steps that failed as `step:compile`; names may be globs."""

    test: Text
    library: Text = "*"
    cell: Text = "*"
    owner: Text
    bug: Text
    expires: date
    position: Annotated[Position, Place()]

    def covers(self, library: str, cell: str, test: str) -> bool:
        patterns = (self.library, self.cell, self.test)
        return all(map(fnmatchcase, (library, cell, test), patterns))

    def has_expired(self, today: date) -> bool:
        return today > self.expires


@dataclass(frozen=True, slots=True)
class WaiverFile:
    """The waivers of a repository."""

    version: Literal["1"]
    waivers: Some[Waiver]


def load_waivers(root: Path) -> tuple[Waiver, ...]:
    """Return the waivers of the repository in the file's order; none without a file."""
    if not (root / FILE).exists():
        return ()
    reading = read_document(WaiverFile, load_document(root / FILE, FILE))
    if reading.document.problems or reading.contents is None:
        raise ConfigurationError(*reading.document.problems)
    return reading.contents.waivers


def waiver_of(
    waivers: Sequence[Waiver], library: str, cell: str, test: str, today: date
) -> Waiver | None:
    """Return the first waiver that covers a failure and has not expired."""
    covering = (waiver for waiver in waivers if waiver.covers(library, cell, test))
    return next((waiver for waiver in covering if not waiver.has_expired(today)), None)
