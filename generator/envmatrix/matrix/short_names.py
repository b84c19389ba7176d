"""Short names: `cuda12-aarch64` for a cell with a longer id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import TypeVar

from envmatrix.facts.versions import version_key
from envmatrix.matrix.cells import Candidate
from envmatrix.matrix.model import CellAlias, Matrix, NameDefaults

_Cell = TypeVar("_Cell", bound=Candidate)
_Rank = tuple[int, tuple[int, ...], tuple[int, ...]]


def assign_short_names(matrix: Matrix, cells: Sequence[_Cell]) -> dict[str, _Cell]:
    """Return the cell of each short name; an alias overrides a generated name."""
    named = ((name, cell) for cell in cells for name in generated_names(cell, matrix.defaults))
    names = _best(named, matrix)
    for alias_name, alias in matrix.aliases.items():
        names.update(alias_cells(alias_name, alias, matrix, cells))
    return names


def generated_names(cell: Candidate, defaults: NameDefaults) -> Iterator[str]:
    """Yield all short names that the cell could have: `cuda12`, `cuda12.4`, ... before the arch."""
    cudas = [f"cuda{version}" for version in _prefixes(cell.cuda)]
    cudnns = [f"-cudnn{version}" for version in _prefixes(cell.cudnn)] if cell.cudnn else [""]
    for cuda, cudnn in product(cudas, cudnns):
        yield from _with_arch(cuda + cudnn, cell, defaults)


def alias_cells(
    name: str, alias: CellAlias, matrix: Matrix, cells: Iterable[_Cell]
) -> dict[str, _Cell]:
    """Return the names of one alias, with the cell of each."""
    named = [
        (full, cell)
        for cell in cells
        if _matches(alias, cell)
        for full in ((name,) if alias.arch else _with_arch(name, cell, matrix.defaults))
    ]
    return _best(named, matrix)


def _matches(alias: CellAlias, cell: Candidate) -> bool:
    return (
        (alias.cuda, alias.cudnn) == (cell.cuda, cell.cudnn)
        and alias.os in (None, cell.os)
        and alias.arch in (None, cell.arch)
    )


def _with_arch(stem: str, cell: Candidate, defaults: NameDefaults) -> Iterator[str]:
    yield f"{stem}-{cell.arch}"
    if cell.arch == defaults.arch:
        yield stem


def _prefixes(version: str) -> list[str]:
    """Return `12`, `12.4` and `12.4.1` for `12.4.1`."""
    parts = version.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _best(named: Iterable[tuple[str, _Cell]], matrix: Matrix) -> dict[str, _Cell]:
    """Return for each name the cell of the default operating system, or else of the first one of
    the matrix, and of the newest versions."""
    systems = dict.fromkeys((*filter(None, [matrix.defaults.os]), *matrix.axes["os"]))
    ranks = {os: -place for place, os in enumerate(systems)}
    best: dict[str, tuple[_Rank, _Cell]] = {}
    for name, cell in named:
        rank = ranks[cell.os], version_key(cell.cuda), version_key(cell.cudnn or "")
        if name not in best or rank > best[name][0]:
            best[name] = rank, cell
    return {name: cell for name, (_, cell) in best.items()}
