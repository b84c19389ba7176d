"""Checks of the runs that a matrix file lists."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain

from envmatrix.documents import Location
from envmatrix.errors import Position, Problem
from envmatrix.matrix.cells import AXES
from envmatrix.matrix.checks import Source, duplicate_problems
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Exclusion, Matrix
from envmatrix.matrix.requirement_checks import machine_problems
from envmatrix.matrix.requirement_rules import requirement_verdicts
from envmatrix.matrix.run_expansion import libraries_of, steps_on_machines
from envmatrix.matrix.runs import COMPILE, STANDARD_SELECTORS, TEST, RunEntry
from envmatrix.matrix.tier_names import TIERS
from envmatrix.suggestions import known_names
from envmatrix.text import one_line

# Values that entries have for every library.
_COMMON_NAMES: Mapping[str, tuple[str, ...]] = {
    "std": STANDARD_SELECTORS,
    "build_type": (),
    "sanitizer": ("none",),
    "named": (),
    "steps": (COMPILE, TEST),
}
_Names = Mapping[str, Collection[str]]


def run_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    entries = source.contents.runs
    if not entries:
        return
    names = {library.name: _names_of(library, matrix) for library in matrix.libraries}
    for index, entry in enumerate(entries):
        if len(entry.libraries) > 1:
            yield from duplicate_problems(source, ("runs", index, "libraries"), entry.libraries)
        yield from _unknown_names(source, matrix, index, entry, names)
        yield from _idle_machines(source, matrix, index, entry)
        yield from machine_problems(entry.runs_on, matrix, source, ("runs", index, "runs_on"))
    yield from _impossible(matrix)
    yield from _without_effect(source, matrix)
    yield from _never_run(source, matrix)


def _unknown_names(
    source: Source, matrix: Matrix, index: int, entry: RunEntry, names_of: Mapping[str, _Names]
) -> Iterator[Problem]:
    """Yield globs that match no library, and names that none of the libraries has."""
    unmatched = [
        (item, glob)
        for item, glob in enumerate(entry.libraries)
        if not any(fnmatchcase(name, glob) for name in names_of)
    ]
    for item, glob in unmatched:
        message = f"`{one_line(glob)}` matches no library"
        hint = known_names(glob, names_of)
        yield source.problem(message, ("runs", index, "libraries", item), hint)
    if unmatched:
        return
    rows = [names_of[library.name] for library in libraries_of(entry, matrix)]
    for key, common in _COMMON_NAMES.items():
        for item, name in enumerate(getattr(entry, key) or ()):
            if name not in common and not any(name in row[key] for row in rows):
                names = dict.fromkeys((*common, *(each for row in rows for each in row[key])))
                message = f"no library of this entry has `{key}: {name}`"
                yield source.problem(message, ("runs", index, key, item), known_names(name, names))


def _names_of(library: Library, matrix: Matrix) -> _Names:
    """Return the values of keys of an entry that a library has."""
    variants = [variant.variant for variant in matrix.variants_of[library.name]]
    keys = ("std", "build_type", "sanitizer", "named")
    names = {
        key: dict.fromkeys(filter(None, (getattr(row, key) for row in variants))) for key in keys
    }
    return {**names, "steps": library.steps}


def _idle_machines(
    source: Source, matrix: Matrix, index: int, entry: RunEntry
) -> Iterator[Problem]:
    """Yield the machines of an entry on which nothing of it runs."""
    libraries = libraries_of(entry, matrix) if entry.runs_on else ()
    rows = [row for library in libraries for row in steps_on_machines(entry, library)]
    if rows and not any(machine for _, machine in rows):
        message = "`runs_on` has no effect: nothing of this entry runs on a machine"
        position = source.document.key_position("runs", index, "runs_on")
        yield Problem(message, position, "leave it out, or add tests or steps that need a machine")


def _impossible(matrix: Matrix) -> Iterator[Problem]:
    """Yield machines of entries that can run nothing of a cell, each entry with the first."""
    refused: dict[Position, Problem] = {}
    for run in matrix.runs:
        if run.runs_on and run.position not in refused:
            verdicts = requirement_verdicts(run.runs_on, run.library, run.cell, matrix)
            if verdict := next((row for row in verdicts if not row.passed), None):
                message = f"`{run.library.name}` cannot run there in `{run.cell.id}`"
                position = run.runs_on.position or run.position
                refused[run.position] = Problem(message, position, verdict.explanation)
    yield from refused.values()


def _without_effect(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield keys that choose cells, variants or tiers in another way than listed runs do."""
    hint = "name it in an entry of `runs`, and remove it here"
    for key, position in _other_choices(source, matrix):
        message = f"`{key}` has no effect beside `runs`, whose entries say what runs"
        yield Problem(message, position, hint)


def _other_choices(source: Source, matrix: Matrix) -> Iterator[tuple[str, Position | None]]:
    contents, position = source.contents, source.document.key_position
    yield from ((key, position(key)) for key in ("include", "tiers") if getattr(contents, key))
    for library in matrix.libraries:
        place: Location = ("libraries", library.name)
        if library.variants.tiers:
            yield "tiers", position(*place, "variants", "tiers")
        for name, step in library.steps.items():
            if step.tier != TIERS[0]:
                yield "tier", position(*place, "steps", name, "tier")
        for requirement in chain.from_iterable(library.requirements.values()):
            if requirement.tier != TIERS[0]:
                yield "tier", requirement.position


def _never_run(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield libraries and named variants that no entry lists; nothing if none could be read. What
    is wrong with an entry without runs is told elsewhere."""
    if not matrix.runs:
        return
    listed = {(run.library.declared_name, run.library.variant.named) for run in matrix.runs}
    positions = {run.position for run in matrix.runs}
    names = {name for name, _ in listed}
    idle = {
        library.name
        for index, entry in enumerate(source.contents.runs)
        if source.document.position("runs", index) not in positions
        for library in libraries_of(entry, matrix)
    }
    for library in matrix.libraries:
        place: Location = ("libraries", library.name)
        if library.name in idle:
            continue
        if library.name not in names:
            message = f"no entry of `runs` lists library `{library.name}`"
            hint = f"list it, `{{libraries: {library.name}}}`, or remove it"
            yield Problem(message, source.document.key_position(*place), hint)
            continue
        for name in library.variants.named:
            if (library.name, name) not in listed:
                message = f"no entry of `runs` lists variant `{name}` of `{library.name}`"
                place = ("libraries", library.name, "variants", "named", name)
                hint = f"list it, `{{libraries: {library.name}, named: {name}}}`, or remove it"
                yield Problem(message, source.document.key_position(*place), hint)


def idle_values(
    source: Source,
    index: int,
    used: Collection[tuple[str, str]],
    rejected: Sequence[tuple[Mapping[str, str], Exclusion]],
) -> Iterator[Problem]:
    """Yield values of axes for which an entry has no cell, with a reason; `used` are those of its
    cells."""
    if rejected and not used:
        yield source.problem("no cell of this entry exists", ("runs", index), _why(rejected[0][1]))
        return
    for axis in AXES:
        for item, value in enumerate(getattr(source.contents.runs[index], axis) or ()):
            rows = [row for values, row in rejected if values[axis] == value]
            if rows and (axis, value) not in used:
                message = f"no cell of this entry with `{axis}: {value}` exists"
                yield source.problem(message, ("runs", index, axis, item), _why(rows[-1]))


def _why(exclusion: Exclusion) -> str:
    return f"`{exclusion.cell.id}`: {exclusion.reason}"


def idle_entry(source: Source, index: int) -> Problem:
    message = "adds no run: entries before it list the same, or its libraries are not for its cells"
    return source.problem(message, ("runs", index), "remove it, or change what it names")
