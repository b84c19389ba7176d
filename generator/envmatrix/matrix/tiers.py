"""Tiers: few cells that have, between them, the combinations of values that many have.

A combination is a value on each of some axes. Only those that a cell of the matrix has count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heapreplace
from itertools import combinations
from typing import TypeAlias

from envmatrix.errors import NothingSelected
from envmatrix.matrix.cells import AXES, TIERS, Cell, sort_key
from envmatrix.matrix.model import Budget, Matrix, PlannedCell
from envmatrix.matrix.selection import select

Combination: TypeAlias = tuple[tuple[str, str], ...]

# Cells of other architectures run under emulation, where a container is given no GPU.
GPU_ARCH = "x86_64"

_SIZES = {"pr": (2,), "nightly": (2, 3), "weekly": (2, 3)}
_WORDS = {2: "pair", 3: "triple"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A cell of a tier; `gpu` says that the budget has a GPU for its tests."""

    planned: PlannedCell
    reason: str
    gpu: bool


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of the combinations that occur, those that no cell of a tier has. `of` is their word."""

    of: str
    total: int
    uncovered: tuple[Combination, ...]

    @property
    def covered(self) -> int:
        return self.total - len(self.uncovered)


@dataclass(frozen=True, slots=True)
class Tier:
    """The cells that run on an occasion, in the order in which they were chosen."""

    name: str
    choices: tuple[Choice, ...]
    coverage: tuple[Coverage, ...]


# A verb asks for the cells of a tier and for what there is to show of it.
@lru_cache(maxsize=8)
def tier_of(matrix: Matrix, name: str) -> Tier:
    chosen, budget = _chosen(matrix, name), matrix.tiers.get(name)
    can_use_gpu = [cell for cell in chosen if cell.arch == GPU_ARCH]
    with_gpu = set(can_use_gpu[: budget.gpu_jobs] if budget else can_use_gpu)
    choices = tuple(
        Choice(matrix.by_id[cell.id], reason, cell in with_gpu) for cell, reason in chosen.items()
    )
    return Tier(name, choices, tuple(_coverage(matrix, chosen, size) for size in _SIZES[name]))


def asked_for(matrix: Matrix, budget: Budget) -> tuple[Cell, ...]:
    """The cells that a tier never leaves out."""
    found = select(matrix, budget.always) if budget.always else ()
    return tuple(planned.cell for planned in found)


def tiers_with(matrix: Matrix, cell: Cell) -> tuple[str, ...]:
    """The names of the tiers that have `cell`."""
    return tuple(name for name in TIERS if cell in _chosen(matrix, name))


def choices_among(tier: Tier, cells: Iterable[PlannedCell]) -> tuple[Choice, ...]:
    """What `tier` has of `cells`; NothingSelected where that is nothing."""
    wanted = {planned.cell for planned in cells}
    choices = tuple(choice for choice in tier.choices if choice.planned.cell in wanted)
    if not choices:
        hint = f"see what it has: `envmatrix plan --tier {tier.name}`"
        raise NothingSelected(f"tier `{tier.name}` has none of the selected cells", hint=hint)
    return choices


def _chosen(matrix: Matrix, name: str) -> dict[Cell, str]:
    """The cells of a tier with the reason for each, those of the tier before it first."""
    cells = [planned.cell for planned in matrix.cells]
    if name not in matrix.tiers:
        return dict.fromkeys(cells, "every cell")
    chosen: dict[Cell, str] = {}
    for each in TIERS[: TIERS.index(name) + 1]:
        budget = matrix.tiers[each]
        for cell in asked_for(matrix, budget):
            chosen.setdefault(cell, "always")
        for wanted in (_endpoints(cells), *(_occurring(cells, size) for size in _SIZES[each])):
            _cover(chosen, cells, wanted, budget.jobs)
    return chosen


def _cover(
    chosen: dict[Cell, str], cells: Sequence[Cell], wanted: Collection[Combination], jobs: int
) -> None:
    """Choose the cell with most of what is left of `wanted`, again and again, up to `jobs` cells.

    Of equal cells it is the first. More jobs only add to what fewer would choose.
    """
    size = len(next(iter(wanted)))
    left = set(wanted)
    has = {cell: left.intersection(_combinations(cell, size)) for cell in cells}
    left = left.difference(*(has[cell] for cell in chosen))
    queue = [(-len(has[cell]), place) for place, cell in enumerate(cells)]
    heapify(queue)
    while left and len(chosen) < jobs:
        most, place = queue[0]
        cell = cells[place]
        count = len(has[cell] & left)
        if count < -most:  # What a cell adds only shrinks, so cells are counted anew when first.
            heapreplace(queue, (-count, place))
            continue
        chosen[cell] = _reason(size, count)
        left -= has[cell]


def _reason(size: int, count: int) -> str:
    return "endpoint" if size == 1 else f"covers {count} {_WORDS[size]}{'s' if count > 1 else ''}"


def _coverage(matrix: Matrix, chosen: Iterable[Cell], size: int) -> Coverage:
    occurring = _occurring([planned.cell for planned in matrix.cells], size)
    covered = set(_occurring(chosen, size))
    uncovered = tuple(found for found in occurring if found not in covered)
    return Coverage(f"{_WORDS[size]}s", len(occurring), uncovered)


def _endpoints(cells: Iterable[Cell]) -> list[Combination]:
    """The first and the last value of each axis: the oldest and the newest CUDA, and so on."""
    rows = (zip(sort_key(cell), _combinations(cell, 1), strict=True) for cell in cells)
    return [end(column)[1] for column in zip(*rows, strict=True) for end in (min, max)]


def _occurring(cells: Iterable[Cell], size: int) -> list[Combination]:
    return list(dict.fromkeys(found for cell in cells for found in _combinations(cell, size)))


def _combinations(cell: Cell, size: int) -> Iterator[Combination]:
    return combinations([(axis, getattr(cell, axis) or "none") for axis in AXES], size)
