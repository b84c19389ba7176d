"""Heat maps of states: a row for each CUDA release, a column for each operating system and
architecture. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from envmatrix.facts.versions import version_key
from envmatrix.matrix.cells import ARCHES, Candidate, compiler_key, parse_cell, python_key
from envmatrix.records import dataclass

# The state of a cell without a result.
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Column:
    os: str
    arch: str


@dataclass(frozen=True, slots=True)
class Row:
    """A CUDA release, and for each column the cells that have it: one for each version of cuDNN and
    each compiler."""

    cuda: str
    places: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The cells of a map by row and column, the newest CUDA first; `others` have ids that name no
    combination of values."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    others: tuple[str, ...]


def heat_map(cells: Iterable[str]) -> HeatMap:
    """Return the map of cells."""
    candidates: dict[str, Candidate] = {}
    others: list[str] = []
    for cell in dict.fromkeys(cells):
        if candidate := parse_cell(cell):
            candidates[cell] = candidate
        else:
            others.append(cell)
    ordered = sorted(candidates, key=lambda cell: _place_key(candidates[cell]))
    places: defaultdict[tuple[str, Column], list[str]] = defaultdict(list)
    for cell in ordered:
        candidate = candidates[cell]
        places[candidate.cuda, Column(candidate.os, candidate.arch)].append(cell)
    columns = sorted({column for _, column in places}, key=_column_key)
    releases = sorted({cuda for cuda, _ in places}, key=version_key, reverse=True)
    rows = (
        Row(cuda, tuple(tuple(places.get((cuda, column), ())) for column in columns))
        for cuda in releases
    )
    return HeatMap(tuple(columns), tuple(rows), tuple(sorted(others)))


def _place_key(candidate: Candidate) -> tuple[object, ...]:
    """Return the order of cells in a place: those of the default tools first."""
    compilers = compiler_key(candidate.compiler), candidate.cuda_compiler or ""
    return *compilers, python_key(candidate.python), version_key(candidate.cudnn or "")


def _column_key(column: Column) -> tuple[str, int, str]:
    rank = ARCHES.index(column.arch) if column.arch in ARCHES else len(ARCHES)
    return column.os, rank, column.arch


def count_states(cells: Sequence[str], states: Mapping[str, str]) -> Mapping[str, int]:
    """Return how many of the cells have each state, worst first."""
    counts: defaultdict[str, int] = defaultdict(int)
    for cell in cells:
        counts[states.get(cell, NOT_RUN)] += 1
    ordered = sorted(counts, key=lambda state: _ORDER.index(state))
    return {state: counts[state] for state in ordered}


_ORDER = ("killed", "errored", "failed", "waived", "flaky", "skipped", "passed", NOT_RUN)
