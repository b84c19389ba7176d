"""Finding cells by name or pattern, and explaining why one is there or is not."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from envmatrix.errors import ConfigurationError, NothingSelected, Position, Problem
from envmatrix.matrix import names
from envmatrix.matrix.cells import AXES, Cell, parse_cell, sort_key, version_key
from envmatrix.matrix.compatibility import Verdict, trace
from envmatrix.matrix.model import Exclusion, Library, Matrix, PlannedCell, named_source
from envmatrix.matrix.suggest import did_you_mean

NOT_LISTED = "not listed in matrix.yaml"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a cell is in the matrix or is not; `verdicts` are all the rules, passed or not."""

    cell: Cell
    present: bool
    reason: str
    verdicts: tuple[Verdict, ...]
    position: Position | None
    names: tuple[str, ...]
    nearest: Cell | None


@lru_cache(maxsize=8)
def short_names(matrix: Matrix) -> Mapping[str, Cell]:
    cells = [planned.cell for planned in matrix.cells]
    return names.short_names(cells, matrix.aliases, matrix.defaults, matrix.axes["os"])


def find_cell(matrix: Matrix, name: str) -> PlannedCell:
    """The cell with an id or a short name; absent ones are refused with their reason."""
    planned = _planned(matrix, name)
    if planned is None:
        raise ConfigurationError(_refusal(matrix, name))
    return planned


def select(matrix: Matrix, patterns: Sequence[str]) -> tuple[PlannedCell, ...]:
    """Cells whose id, environment or a short name matches any of the globs; all without any."""
    if not patterns:
        return matrix.cells
    chosen = select_in_any([matrix], patterns)
    return tuple(planned for planned in matrix.cells if planned.cell in chosen)


def is_for(its: Library, cell: PlannedCell, matrix: Matrix) -> bool:
    """Whether a library is compiled in a cell."""
    return its.suits(cell.cell.arch) and (not its.cells or cell in select(matrix, its.cells))


def select_in_any(matrices: Sequence[Matrix], patterns: Sequence[str]) -> set[Cell]:
    """Cells of all the matrices that match; a pattern need match in one of them only."""
    called = [_called(matrix) for matrix in matrices]
    chosen: set[Cell] = set()
    for pattern in _split(patterns):
        matches = re.compile(fnmatch.translate(pattern)).match
        found = {cell for names in called for name, cell in names if matches(name)}
        if not found:
            raise _nothing(pattern, called[0], matrices[0])
        chosen |= found
    return chosen


def explain(matrix: Matrix, name: str) -> Explanation:
    planned = _planned(matrix, name)
    if planned is not None:
        return _explain_present(matrix, planned)
    cell = _absent_cell(matrix, name)
    if cell is None:
        raise ConfigurationError(_refusal(matrix, name))
    exclusion = _exclusions(matrix).get(cell)
    verdicts = _trace(matrix, cell)
    return Explanation(
        cell=cell,
        present=False,
        reason=exclusion.reason if exclusion else _reason_of_stranger(verdicts),
        verdicts=verdicts,
        position=exclusion.position if exclusion else None,
        names=(),
        nearest=_nearest(matrix, cell),
    )


def _trace(matrix: Matrix, cell: Cell) -> tuple[Verdict, ...]:
    source = named_source(cell, matrix.sources)
    return trace(cell, matrix.facts, source, matrix.components)


def _explain_present(matrix: Matrix, planned: PlannedCell) -> Explanation:
    cell = planned.cell
    return Explanation(
        cell=cell,
        present=True,
        reason=_reason_of_presence(matrix, planned),
        verdicts=_trace(matrix, cell),
        position=planned.position,
        names=tuple(name for name, named in short_names(matrix).items() if named == cell),
        nearest=None,
    )


def _reason_of_presence(matrix: Matrix, planned: PlannedCell) -> str:
    if overlay := matrix.overlay_of(planned):
        return f"added by {overlay}"
    return "included in matrix.yaml" if planned.included else "on the axes of matrix.yaml"


def _planned(matrix: Matrix, name: str) -> PlannedCell | None:
    cell = short_names(matrix).get(name)
    return matrix.by_id.get(cell.id if cell else name)


def _absent_cell(matrix: Matrix, name: str) -> Cell | None:
    """The cell that `name` would mean if every cell of the product existed."""
    return _absent_names(matrix).get(name) or parse_cell(name)


@lru_cache(maxsize=8)
def _absent_names(matrix: Matrix) -> Mapping[str, Cell]:
    cells = [exclusion.cell for exclusion in matrix.exclusions]
    return names.short_names(cells, matrix.aliases, matrix.defaults, matrix.axes["os"])


@lru_cache(maxsize=8)
def _exclusions(matrix: Matrix) -> Mapping[Cell, Exclusion]:
    return {exclusion.cell: exclusion for exclusion in matrix.exclusions}


def _refusal(matrix: Matrix, name: str) -> Problem:
    cell = _absent_cell(matrix, name)
    if cell is None:
        known = (*matrix.by_id, *short_names(matrix))
        return Problem(f"there is no cell `{name}`", hint=did_you_mean(name, known))
    exclusion = _exclusions(matrix).get(cell)
    nearest = _nearest(matrix, cell)
    hint = f"the nearest cell that exists is `{nearest.id}`" if nearest else None
    if exclusion:
        return Problem(_absence(name, exclusion), hint=hint)
    reason = _reason_of_stranger(_trace(matrix, cell))
    return Problem(f"there is no cell `{name}`: {reason}", hint=hint)


def _absence(name: str, exclusion: Exclusion) -> str:
    where = f" ({exclusion.position})" if exclusion.rule == "exclude" else ""
    full = "" if name == exclusion.cell.id else f" (`{exclusion.cell.id}`)"
    verb = "is excluded" if exclusion.rule == "exclude" else "cannot exist"
    return f"cell `{name}`{full} {verb}{where}: {exclusion.reason}"


def _reason_of_stranger(verdicts: Iterable[Verdict]) -> str:
    failed = [verdict.explanation for verdict in verdicts if not verdict.passed]
    return "; and ".join([NOT_LISTED, *failed[:1]])


def _nearest(matrix: Matrix, cell: Cell) -> Cell | None:
    """The cell with the fewest axes changed, and of those the closest versions."""
    cells = (planned.cell for planned in matrix.cells)
    return min(cells, key=lambda other: _distance(cell, other), default=None)


def _distance(cell: Cell, other: Cell) -> tuple[object, ...]:
    changed = sum(getattr(cell, axis) != getattr(other, axis) for axis in AXES)
    # The architecture is what one can least change, so it is given up last.
    return (
        changed,
        cell.arch != other.arch,
        _version_distance(cell.cuda, other.cuda),
        _version_distance(cell.cudnn, other.cudnn),
        sort_key(other),
    )


def _version_distance(version: str | None, other: str | None) -> tuple[int, ...]:
    """Of another major, the release next to this one's is the closest."""
    one, two = ((*version_key(text or "0"), 0, 0)[:3] for text in (version, other))
    if one[0] == two[0]:
        return tuple(abs(left - right) for left, right in zip(one, two, strict=True))
    direction = 1 if two > one else -1
    return (abs(one[0] - two[0]), *(direction * part for part in two[1:]))


def _split(patterns: Iterable[str]) -> list[str]:
    return [part.strip() for pattern in patterns for part in pattern.split(",")]


def _called(matrix: Matrix) -> list[tuple[str, Cell]]:
    """Every name that a pattern can match, with its cell."""
    called = list(short_names(matrix).items())
    for planned in matrix.cells:
        called += [(planned.id, planned.cell), (planned.cell.environment, planned.cell)]
    return called


def _nothing(pattern: str, called: Sequence[tuple[str, Cell]], matrix: Matrix) -> NothingSelected:
    if not pattern:
        return NothingSelected("the selection holds an empty pattern", hint="give a cell or a glob")
    if _absent_cell(matrix, pattern):
        refusal = _refusal(matrix, pattern)
        return NothingSelected(refusal.message, hint=refusal.hint)
    known = dict.fromkeys(name for name, _ in called)
    return NothingSelected(f"`{pattern}` matches no cell", hint=did_you_mean(pattern, known))
