"""Tiers: small sets of cells that cover the combinations of values of the matrix.

A combination is one value on each of some axes. Only those that a cell of the matrix has count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import heapify, heapreplace
from itertools import combinations, islice
from operator import attrgetter
from typing import TypeAlias

from envmatrix.errors import NothingSelected
from envmatrix.matrix.cells import AXES, OMITTED, TOOL_AXES, Candidate, Cell, sort_key
from envmatrix.matrix.model import Budget, Matrix
from envmatrix.matrix.runs import TEST
from envmatrix.matrix.selection import select
from envmatrix.matrix.tier_names import TIERS
from envmatrix.records import dataclass

Combination: TypeAlias = tuple[tuple[str, str], ...]

# Cells of other architectures run under emulation, where containers get no GPU.
GPU_ARCH = "x86_64"

_SIZES = {"pr": (2,), "nightly": (2, 3), "weekly": (2, 3)}
_WORDS = {2: "pair", 3: "triple"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A cell of a tier; `gpu` is true if the budget has a GPU for its tests."""

    cell: Cell
    reason: str
    gpu: bool


@dataclass(frozen=True, slots=True)
class Coverage:
    """The coverage of `total` combinations by a tier; `of` is their noun (`pairs`, `triples`)."""

    of: str
    total: int
    uncovered: tuple[Combination, ...]

    @property
    def covered(self) -> int:
        return self.total - len(self.uncovered)


@dataclass(frozen=True, slots=True)
class TierCells:
    """The cells of a tier, in the order in which they were chosen, and their coverage."""

    name: str
    choices: tuple[Choice, ...]
    coverage: tuple[Coverage, ...]


# Cached: a command calls it to select cells and again to show the tier.
@lru_cache(maxsize=8)
def tier_of(matrix: Matrix, name: str) -> TierCells:
    chosen = _choose(matrix, name)
    budget = None if matrix.runs else matrix.tiers.get(name)
    uses_gpu = {
        run.cell for run in matrix.runs if name in run.tiers and (run.runs_on or run.step == TEST)
    }
    can_use_gpu = [
        cell for cell in chosen if cell.arch == GPU_ARCH and (not matrix.runs or cell in uses_gpu)
    ]
    with_gpu = set(can_use_gpu[: budget.gpu_jobs] if budget else can_use_gpu)
    choices = tuple(Choice(cell, reason, cell in with_gpu) for cell, reason in chosen.items())
    return TierCells(name, choices, tuple(_coverage(matrix, chosen, size) for size in _SIZES[name]))


def always_cells(matrix: Matrix, budget: Budget) -> tuple[Cell, ...]:
    """Return the cells that a tier must have (`always`)."""
    return select(matrix, budget.always) if budget.always else ()


def tiers_with(matrix: Matrix, cell: Candidate) -> tuple[str, ...]:
    """Return the names of the tiers with `cell`."""
    return tuple(name for name in TIERS if cell in _choose(matrix, name))


def choices_among(tier: TierCells, cells: Iterable[Cell]) -> tuple[Choice, ...]:
    """Return the choices of `tier` for `cells`. Raise NothingSelected if there are none."""
    selected = set(cells)
    choices = tuple(choice for choice in tier.choices if choice.cell in selected)
    if not choices:
        hint = f"see what it has: `envmatrix plan --tier {tier.name}`"
        raise NothingSelected(f"tier `{tier.name}` has none of the selected cells", hint=hint)
    return choices


def _choose(matrix: Matrix, name: str) -> dict[Cell, str]:
    """Return the cells of a tier with the reason for each, those of the tier before it first; of
    listed runs, the cells in their order."""
    cells = matrix.cells
    if matrix.runs:
        runs = (run for run in reversed(matrix.runs) if name in run.tiers)
        reasons = {run.cell: f"listed at {run.position}" for run in runs}
        return {cell: reasons[cell] for cell in cells if cell in reasons}
    if name not in matrix.tiers:
        return dict.fromkeys(cells, "every cell")
    chosen: dict[Cell, str] = {}
    for tier in TIERS[: TIERS.index(name) + 1]:
        budget = matrix.tiers[tier]
        for cell in always_cells(matrix, budget):
            chosen.setdefault(cell, "always")
        for required in (_endpoints(cells), *(_occurring(cells, size) for size in _SIZES[tier])):
            _cover(chosen, cells, required, budget.jobs)
    return chosen


def _cover(
    chosen: dict[Cell, str], cells: Sequence[Cell], required: Collection[Combination], jobs: int
) -> None:
    """Add cells to `chosen` greedily, up to `jobs`: each time the first one that covers the most of
    what is uncovered of `required`. More jobs only add to the cells that fewer would choose."""
    size = len(next(iter(required)))
    axes = _axes_of(required)
    uncovered = set(required).difference(*(_combinations(cell, axes, size) for cell in chosen))
    for cell, count in islice(covering(cells, uncovered), max(0, jobs - len(chosen))):
        chosen[cell] = reason_of_coverage(size, count)


def covering(cells: Sequence[Cell], uncovered: set[Combination]) -> Iterator[tuple[Cell, int]]:
    """Yield cells greedily, with numbers: each time the first one that covers the most of
    `uncovered`, which loses that; none that covers nothing."""
    size = len(next(iter(uncovered), ()))
    axes = _axes_of(uncovered)
    covered_by = {cell: uncovered.intersection(_combinations(cell, axes, size)) for cell in cells}
    queue = [(-len(covered_by[cell]), place) for place, cell in enumerate(cells)]
    heapify(queue)
    while queue and queue[0][0]:
        most, place = queue[0]
        cell = cells[place]
        count = len(covered_by[cell] & uncovered)
        if count < -most:  # Counts only shrink, so cells are counted again when first.
            heapreplace(queue, (-count, place))
            continue
        uncovered -= covered_by[cell]
        yield cell, count


def pairs_of(cells: Iterable[Cell]) -> set[Combination]:
    """Return the pairs of values that cells have."""
    return set(_occurring([*cells], 2))


def reason_of_coverage(size: int, count: int) -> str:
    return "endpoint" if size == 1 else f"covers {count} {_WORDS[size]}{'s' if count > 1 else ''}"


def _coverage(matrix: Matrix, chosen: Collection[Cell], size: int) -> Coverage:
    occurring = _occurring(matrix.cells, size)
    has_all = len(chosen) == len(matrix.cells)
    covered = set(occurring if has_all else _occurring(chosen, size))
    uncovered = tuple(combination for combination in occurring if combination not in covered)
    return Coverage(f"{_WORDS[size]}s", len(occurring), uncovered)


def _endpoints(cells: Sequence[Cell]) -> list[Combination]:
    """Return the first and the last value of each axis, such as the oldest and the newest CUDA."""
    keys = [sort_key(cell) for cell in cells]
    ends: list[Combination] = []
    for axis in _axes(cells):
        column = [
            (key[AXES.index(axis)], _value(cell, axis))
            for key, cell in zip(keys, cells, strict=True)
        ]
        ends += [((axis, end(column)[1]),) for end in (min, max)]
    return ends


def _occurring(cells: Collection[Cell], size: int) -> list[Combination]:
    """Return the combinations of two values or more that cells have, each once."""
    return [
        tuple((axis, value or OMITTED[axis]) for axis, value in zip(axes, values, strict=True))
        for axes in combinations(_axes(cells), size)
        for values in dict.fromkeys(map(attrgetter(*axes), cells))
    ]


def _combinations(cell: Cell, axes: Iterable[str], size: int) -> Iterator[Combination]:
    return combinations([(axis, _value(cell, axis)) for axis in axes], size)


def _axes(cells: Iterable[Cell]) -> Sequence[str]:
    """Return the axes whose values count: those of tools only if a cell names one."""
    named = {axis for cell in cells for axis in TOOL_AXES if getattr(cell, axis)}
    return [axis for axis in AXES if axis not in TOOL_AXES or axis in named]


def _axes_of(combinations: Iterable[Combination]) -> Sequence[str]:
    """Return the axes of combinations in order."""
    axes = {axis for combination in combinations for axis, _ in combination}
    return [axis for axis in AXES if axis in axes]


def _value(cell: Candidate, axis: str) -> str:
    """Return the value of a cell on an axis, as files have it."""
    value: str | None = getattr(cell, axis)
    return value or OMITTED[axis]
