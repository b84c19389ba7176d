"""Names of sessions, cached so that listing thousands stays fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from envmatrix.machine.disk_cache import cached_value, identity
from envmatrix.matrix.files import files_of


def libraries_by_cell(root: Path) -> Mapping[str, Sequence[str]]:
    """Return the names of the libraries of each cell, by its id; from the cache if no file of the
    matrix changed."""
    return _names(root)[1]


def cells_by_name(root: Path) -> Mapping[str, str]:
    """Return the ids of cells by id and by short name, likewise."""
    return _names(root)[0]


def _names(root: Path) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    return cached_value(f"{root.resolve()} names", identity(files_of(root)), lambda: _read(root))


def _read(root: Path) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    from envmatrix.matrix.loading import load_matrix  # not when the cache answers
    from envmatrix.matrix.selection import is_for, short_names

    matrix = load_matrix(root)
    short_ids = {name: cell.id for name, cell in short_names(matrix).items()}
    libraries = {
        cell.id: [library.name for library in matrix.libraries if is_for(library, cell, matrix)]
        for cell in matrix.cells
    }
    return {**short_ids, **{name: name for name in libraries}}, libraries
