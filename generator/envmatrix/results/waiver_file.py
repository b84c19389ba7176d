"""Parser of waivers.yaml."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from envmatrix.documents import load_document
from envmatrix.errors import ConfigurationError
from envmatrix.matrix.scalars import Some, Text
from envmatrix.matrix.schema import Table
from envmatrix.matrix.validation import read_document
from envmatrix.results.waivers import Waiver

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


def load_waivers(root: Path) -> tuple[Waiver, ...]:
    """Return the waivers of the repository in the file's order; none without a file."""
    if not (root / FILE).exists():
        return ()
    reading = read_document(WaiverFile, load_document(root / FILE, FILE))
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
