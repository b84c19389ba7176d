"""The names that sessions go by, kept so that listing thousands stays fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.matrix.files import files_of
from envmatrix.store.memory import identity, remembered


@dataclass(frozen=True, slots=True)
class SessionNames:
    """`cells` are the ids; `all` is name -> id, the ids and the short names; `libraries` are those
    that each cell is for."""

    cells: tuple[str, ...]
    all: Mapping[str, str]
    libraries: Mapping[str, Sequence[str]]


def session_names(root: Path) -> SessionNames:
    """What `root`'s matrix names, from the cache where none of its files changed."""
    return remembered(f"{root.resolve()} names", identity(files_of(root)), lambda: _read(root))


def _read(root: Path) -> SessionNames:
    from envmatrix.matrix.loading import load_matrix  # pydantic: not when the cache answers
    from envmatrix.matrix.selection import is_for, short_names

    matrix = load_matrix(root)
    cells = tuple(cell.id for cell in matrix.cells)
    short = {name: cell.id for name, cell in short_names(matrix).items()}
    libraries = {
        cell.id: [its.name for its in matrix.libraries if is_for(its, cell, matrix)]
        for cell in matrix.cells
    }
    return SessionNames(cells, {**short, **dict(zip(cells, cells, strict=True))}, libraries)
