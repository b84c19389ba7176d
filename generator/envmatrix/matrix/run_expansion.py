"""Expansion of the runs that a matrix file lists: to combinations of values, and in cells to the
steps of variants. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product

from envmatrix.errors import Position
from envmatrix.facts.versions import version_key
from envmatrix.matrix.cells import AXES, OMITTED, Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.runs import COMPILE, STANDARD_SELECTORS, TEST, PlannedRun, RunEntry
from envmatrix.matrix.selection import is_for
from envmatrix.matrix.tier_names import TIERS

Values = Mapping[str, str]
# An entry with its position and the cells that it means.
Listed = tuple[RunEntry, Position, Sequence[Cell]]
# Runs, and the indexes of entries that add none.
Planned = tuple[tuple[PlannedRun, ...], Sequence[int]]


def combinations(entry: RunEntry, matrix: Matrix) -> Iterator[Sequence[Values]]:
    """Yield the combinations of values that an entry means. One without an operating system has an
    item for each system, the preferred one first: it means the first that can exist."""
    systems = dict.fromkeys((*filter(None, [matrix.defaults.os]), *matrix.axes["os"]))
    names = [axis for axis in AXES if axis != "os"]
    for values in product(*(_values(entry, axis, matrix) for axis in names)):
        row = dict(zip(names, values, strict=True))
        groups = ([os] for os in entry.os) if entry.os else [systems]
        yield from ([{**row, "os": os} for os in group] for group in groups)


def _values(entry: RunEntry, axis: str, matrix: Matrix) -> Sequence[str]:
    """Return the values of an axis, filled as in a short name if the entry leaves it out."""
    if stated := getattr(entry, axis):
        return tuple(dict.fromkeys(stated))
    if axis in OMITTED:
        return (OMITTED[axis],)
    if axis == "cuda":
        return (max(matrix.axes["cuda"], key=version_key),)
    return (getattr(matrix.defaults, axis) or matrix.axes[axis][0],)


def libraries_of(entry: RunEntry, matrix: Matrix) -> Sequence[Library]:
    """Return the libraries that the globs of an entry match."""
    return [
        library
        for library in matrix.libraries
        if any(fnmatchcase(library.name, glob) for glob in entry.libraries)
    ]


def _with_settings(entry: RunEntry, variants: Sequence[Library]) -> Sequence[Library]:
    """Return those variants of a library that an entry means, with any C++ standard."""
    return [
        library
        for library in variants
        if _has(entry.named or ("",), library.variant.named)
        and _has(entry.build_type, library.variant.build_type)
        and _has(entry.sanitizer, library.variant.sanitizer or "none")
    ]


def _has(values: Sequence[str] | None, value: str | None) -> bool:
    return values is None or value in values


def _has_standard(entry: RunEntry, variant: Library, others: Sequence[Library]) -> bool:
    """Return whether an entry means the C++ standard of a variant; a selector is for those of the
    `others` with the same name."""
    std, values = variant.variant.std, entry.std
    if values is None or std in values:
        return True
    selectors = {word for word in values if word in STANDARD_SELECTORS}
    if std is None or not selectors:
        return bool(selectors)
    named = [each.variant for each in others if each.variant.named == variant.variant.named]
    standards = [int(each.std) for each in named if each.std]
    return (int(std) == max(standards) and bool(selectors & {"newest", "minmax"})) or (
        int(std) == min(standards) and bool(selectors & {"oldest", "minmax"})
    )


def planned_runs(matrix: Matrix, listed: Sequence[Listed]) -> Planned:
    """Return the steps of variants in cells, each once, with the tiers of all entries that list
    it; and the indexes of entries that add nothing."""
    is_suitable = _suitability(matrix)
    runs: dict[tuple[int, str, str, str], PlannedRun] = {}  # a cell is one object
    idle = []
    for index, (entry, position, cells) in enumerate(listed):
        is_idle = True
        for cell, variant, step, machine in _steps_in_cells(entry, cells, matrix, is_suitable):
            key = id(cell), variant.name, step, machine.label if machine else ""
            before = runs.get(key)
            tiers = {*entry.tiers, *(before.tiers if before else ())}
            if before is None or len(tiers) > len(before.tiers):
                ordered = tuple(tier for tier in TIERS if tier in tiers)
                place = before.position if before else position
                runs[key] = PlannedRun(cell, variant, step, machine, ordered, place)
                is_idle = False
        idle += [index] if is_idle else []
    return tuple(runs.values()), idle


def _steps_in_cells(
    entry: RunEntry,
    cells: Sequence[Cell],
    matrix: Matrix,
    is_suitable: Callable[[Library, Cell], bool],
) -> Iterator[tuple[Cell, Library, str, Requirement | None]]:
    """Yield the steps of variants that an entry means, in cells and on machines."""
    for library in libraries_of(entry, matrix):
        variants = _with_settings(entry, matrix.variants_of[library.name])
        steps = {variant.name: [*steps_on_machines(entry, variant)] for variant in variants}
        for cell in cells:
            suited = [variant for variant in variants if is_suitable(variant, cell)]
            for variant in suited:
                if _has_standard(entry, variant, suited):
                    yield from ((cell, variant, *row) for row in steps[variant.name])


def steps_on_machines(
    entry: RunEntry, library: Library
) -> Iterator[tuple[str, Requirement | None]]:
    """Yield the steps that an entry means for a library, with each machine that they run on: those
    of the entry are for tests, and for steps that need any. What needs the build directory has to
    be compiled before."""
    steps = [step for step in entry.steps if step in steps_of(library)]
    if any(needs_compilation(step, library) for step in steps):
        yield COMPILE, None
    for step in steps:
        if step != COMPILE:
            own = _machines_of(step, library)
            machines = entry.runs_on if own or step == TEST else ()
            yield from ((step, machine) for machine in machines or own or (None,))


def _machines_of(step: str, library: Library) -> Sequence[Requirement]:
    """Return the machines that a library itself requires for its tests or a step."""
    if step == TEST:
        return library.test.runs_on if library.test else ()
    return library.steps[step].runs_on


def needs_compilation(step: str, library: Library) -> bool:
    return step in (COMPILE, TEST) or library.steps[step].after == COMPILE


def steps_of(library: Library) -> Collection[str]:
    """Return the steps that a library has."""
    return (COMPILE, *((TEST,) if library.tests else ()), *library.steps)


def _suitability(matrix: Matrix) -> Callable[[Library, Cell], bool]:
    """Return a function that tells, and remembers, whether a variant is for a cell."""
    suitable: dict[tuple[str, int], bool] = {}

    def is_suitable(variant: Library, cell: Cell) -> bool:
        key = variant.name, id(cell)
        if key not in suitable:
            suitable[key] = is_for(variant, cell, matrix)
        return suitable[key]

    return is_suitable
