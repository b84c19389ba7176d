"""Facts about files of packages that images omit."""

from __future__ import annotations

from typing import Annotated

from envmatrix.records import dataclass
from envmatrix.schema.constraints import Mark


@dataclass(frozen=True, slots=True)
class Omission:
    """A group of files that builds do not open. `paths` are patterns of dpkg's `path-exclude`;
    `contents` says what the files are for."""

    name: Annotated[str, Mark.KEY]
    contents: str
    paths: tuple[str, ...]
    ref: str
