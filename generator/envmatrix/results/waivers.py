"""waivers.yaml: failures that are known, each with an owner, a bug and a day that it ends."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from envmatrix.errors import ConfigurationError, Position
from envmatrix.matrix.document import load
from envmatrix.matrix.reading import read
from envmatrix.matrix.schema import Some, Table, Text

FILE = "waivers.yaml"


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day such as `2027-01-31`") from None
    return text


class WaiverEntry(Table):
    """A failure that fails nothing until its day has passed. Names may be globs."""

    test: Text
    library: Text = "*"
    cell: Text = "*"
    owner: Text
    bug: Text
    expires: Annotated[Text, AfterValidator(_day)]


class WaiverFile(Table):
    version: Literal["1"]
    waivers: Some[WaiverEntry]


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


def load_waivers(root: Path) -> tuple[Waiver, ...]:
    """Those of the repository, in the file's order; none without a file."""
    if not (root / FILE).exists():
        return ()
    reading = read(WaiverFile, load(root / FILE, FILE))
    if reading.problems or reading.contents is None:
        raise ConfigurationError(*reading.problems)
    return tuple(
        Waiver(
            entry.test,
            entry.library,
            entry.cell,
            entry.owner,
            entry.bug,
            date.fromisoformat(entry.expires),
            reading.document.position("waivers", index),
        )
        for index, entry in enumerate(reading.contents.waivers)
    )


def waiver_of(
    waivers: Sequence[Waiver], library: str, cell: str, test: str, today: date
) -> Waiver | None:
    """The first that covers a failure and has not expired."""
    found = (its for its in waivers if its.covers(library, cell, test))
    return next((its for its in found if not its.has_expired(today)), None)
