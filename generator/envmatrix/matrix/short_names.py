"""Short names: `cuda12-aarch64` for a cell with a longer id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TypeVar

from envmatrix.facts.versions import version_key
from envmatrix.matrix.cells import Candidate
from envmatrix.matrix.model import CellAlias, NameDefaults

_Cell = TypeVar("_Cell", bound=Candidate)
_Rank = tuple[int, tuple[int, ...], tuple[int, ...]]


def assign_short_names(
    cells: Sequence[_Cell],
    aliases: Mapping[str, CellAlias],
    defaults: NameDefaults,
    os_order: Sequence[str],
) -> dict[str, _Cell]:
    """Return the cell of each short name; an alias overrides a generated name."""
    ranks = _os_ranks(defaults, os_order)
    named = ((name, cell) for cell in cells for name in generated_names(cell, defaults))
    names = _best(named, ranks)
    for alias_name, alias in aliases.items():
        names.update(alias_cells(alias_name, alias, cells, defaults, os_order))
    return names


def generated_names(cell: Candidate, defaults: NameDefaults) -> Iterator[str]:
    """Yield all short names that the cell could have: `cuda12`, `cuda12.4`, ... before the arch."""
    cudas = [f"cuda{version}" for version in _prefixes(cell.cuda)]
    cudnns = [f"-cudnn{version}" for version in _prefixes(cell.cudnn)] if cell.cudnn else [""]
    for cuda, cudnn in product(cudas, cudnns):
        yield from _with_arch(cuda + cudnn, cell, defaults)


def alias_cells(
    name: str,
    alias: CellAlias,
    cells: Iterable[_Cell],
    defaults: NameDefaults,
    os_order: Sequence[str],
) -> dict[str, _Cell]:
    """Return the names of one alias, with the cell of each."""
    matching = [cell for cell in cells if _matches(alias, cell)]
    if alias.arch is not None:
        named = [(name, cell) for cell in matching]
    else:
        named = [(full, cell) for cell in matching for full in _with_arch(name, cell, defaults)]
    return _best(named, _os_ranks(defaults, os_order))


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


def _os_ranks(defaults: NameDefaults, os_order: Sequence[str]) -> dict[str, int]:
    """Return ranks, the highest for the default operating system, then in the order of the
    matrix."""
    ranks = {os: -position for position, os in enumerate(os_order, start=1)}
    return {**ranks, defaults.os: 0} if defaults.os else ranks


def _best(named: Iterable[tuple[str, _Cell]], ranks: Mapping[str, int]) -> dict[str, _Cell]:
    best: dict[str, tuple[_Rank, _Cell]] = {}
    for name, cell in named:
        rank = ranks[cell.os], version_key(cell.cuda), version_key(cell.cudnn or "")
        if name not in best or rank > best[name][0]:
            best[name] = rank, cell
    return {name: cell for name, (_, cell) in best.items()}
