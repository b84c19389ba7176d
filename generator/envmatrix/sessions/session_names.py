"""Names of sessions, cached so that listing thousands stays fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.machine.disk_cache import cached_value, identity
from envmatrix.matrix.files import files_of


@dataclass(frozen=True, slots=True)
class SessionNames:
    """Names of sessions: `cells` are the ids; `all` maps ids and short names to ids; `libraries`
    are those of each cell."""

    cells: tuple[str, ...]
    all: Mapping[str, str]
    libraries: Mapping[str, Sequence[str]]


def session_names(root: Path) -> SessionNames:
    """Return the names of a matrix, from the cache if none of its files changed."""
    return cached_value(f"{root.resolve()} names", identity(files_of(root)), lambda: _read(root))


def _read(root: Path) -> SessionNames:
    from envmatrix.matrix.loading import load_matrix  # not when the cache answers
    from envmatrix.matrix.selection import is_for, short_names

    matrix = load_matrix(root)
    cells = tuple(cell.id for cell in matrix.cells)
    short_ids = {name: cell.id for name, cell in short_names(matrix).items()}
    libraries = {
        cell.id: [library.name for library in matrix.libraries if is_for(library, cell, matrix)]
        for cell in matrix.cells
    }
    return SessionNames(cells, {**short_ids, **dict(zip(cells, cells, strict=True))}, libraries)
