"""Cells of the matrix and candidates for them: their ids, order and toolchains."""

from __future__ import annotations

import re

from envmatrix.errors import Position
from envmatrix.facts.targets import TARGETS
from envmatrix.facts.versions import version_key
from envmatrix.records import dataclass

AXES = ("cuda", "cudnn", "os", "arch")

ARCHES = tuple(TARGETS)

_CELL_ID = re.compile(
    r"cuda(?P<cuda>\d{1,9}(?:\.\d{1,9}){1,2})"
    r"(?:-cudnn(?P<cudnn>\d{1,9}(?:\.\d{1,9}){1,3}))?"
    r"-(?P<os>[a-z][a-z0-9.]*)-(?P<arch>[a-z][a-z0-9_]*)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One combination of values, in the matrix or not. `cuda` and `cudnn` are versions as written
    in the matrix."""

    cuda: str
    cudnn: str | None
    os: str
    arch: str

    @property
    def environment(self) -> str:
        """The image this cell builds in, shared by all its architectures."""
        cudnn = f"-cudnn{self.cudnn}" if self.cudnn else ""
        return f"cuda{self.cuda}{cudnn}-{self.os}"

    @property
    def id(self) -> str:
        return f"{self.environment}-{self.arch}"

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class CudaSource:
    """Where a cell gets CUDA from; `image` is one by digest where `source` is `image`."""

    source: str
    suite: str | None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The compiler and packages of a valid cell. `gcc` is the newest major that CUDA and the
    operating system allow; `cross` says whether the operating system has it as a cross compiler
    for the cell's architecture."""

    gcc: str
    cuda: CudaSource
    cudnn_project: str | None
    cudnn_source: str | None
    sm: tuple[str, ...]
    cross: bool = True


# Compared as a candidate is: by the values alone.
@dataclass(frozen=True, slots=True, eq=False)
class Cell(Candidate):
    """A cell of the matrix; `position` is the value in matrix.yaml or an overlay that adds it."""

    toolchain: Toolchain
    position: Position | None = None
    included: bool = False

    @property
    def is_crossed(self) -> bool:
        """Return whether a machine of the cross host's architecture compiles it without emulation.
        An image has CUDA for its own architecture only."""
        toolchain, target = self.toolchain, TARGETS[self.arch]
        return target.crossed == "only" or (
            target.crossed == "also" and toolchain.cross and not toolchain.cuda.image
        )


def parse_cell(cell_id: str) -> Candidate | None:
    """Return the candidate that a well-formed id names; else None."""
    match = _CELL_ID.fullmatch(cell_id)
    return Candidate(**match.groupdict()) if match else None


def sort_key(cell: Candidate) -> tuple[tuple[int, ...], tuple[int, ...], str, str]:
    return version_key(cell.cuda), version_key(cell.cudnn or ""), cell.os, cell.arch
