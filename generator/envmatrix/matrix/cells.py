"""A cell of the matrix, and the ids, platforms, triplets and order that follow from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from envmatrix.facts.targets import TARGETS
from envmatrix.facts.versions import version_key

AXES = ("cuda", "cudnn", "os", "arch")

# Names of tiers; each has the cells of the one before it.
TIERS = ("pr", "nightly", "weekly")

ARCHES = tuple(TARGETS)

_CELL_ID = re.compile(
    r"cuda(?P<cuda>\d+\.\d+(?:\.\d+)?)"
    r"(?:-cudnn(?P<cudnn>\d+\.\d+(?:\.\d+){0,2}))?"
    r"-(?P<os>[a-z][a-z0-9.]*)-(?P<arch>[a-z][a-z0-9_]*)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One combination of values. `cuda` and `cudnn` are versions as written in the matrix."""

    cuda: str
    cudnn: str | None
    os: str
    arch: str

    @property
    def environment(self) -> str:
        """The image this cell builds in, shared by all its architectures."""
        return "-".join(
            [f"cuda{self.cuda}", *([f"cudnn{self.cudnn}"] if self.cudnn else []), self.os]
        )

    @property
    def id(self) -> str:
        return f"{self.environment}-{self.arch}"

    def __str__(self) -> str:
        return self.id


def parse_cell(cell_id: str) -> Cell | None:
    """Return the cell that a well-formed id names, in any matrix or not; else None."""
    match = _CELL_ID.fullmatch(cell_id)
    return Cell(**match.groupdict()) if match else None


def sort_key(cell: Cell) -> tuple[tuple[int, ...], tuple[int, ...], str, str]:
    return version_key(cell.cuda), version_key(cell.cudnn or ""), cell.os, cell.arch
