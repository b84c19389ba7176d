"""Semantic checks of a matrix file that is valid by its schema: values that do not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from envmatrix.documents import Document, Location
from envmatrix.errors import NothingSelected, Problem
from envmatrix.facts.model import Facts
from envmatrix.matrix.cells import ARCHES, AXES, OMITTED, Candidate
from envmatrix.matrix.compilers import compiler_in, known_compilers
from envmatrix.matrix.contents import MatrixFile, Tier
from envmatrix.matrix.model import Budget, Matrix
from envmatrix.matrix.other_names import suggest_name
from envmatrix.matrix.selection import alias_cells, generated_names, select
from envmatrix.matrix.selectors import is_selector, quote_release, unmatched_selector_problem
from envmatrix.matrix.tiers import always_cells
from envmatrix.matrix.toolkit import IMAGE
from envmatrix.records import dataclass
from envmatrix.suggestions import did_you_mean

_AXIS_NOUNS = {
    "cuda": "CUDA release",
    "os": "operating system",
    "compiler": "compiler",
    "arch": "architecture",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A matrix file that is valid by its schema, with the positions of its parts and the facts."""

    contents: MatrixFile
    document: Document
    facts: Facts

    def values(self, axis: str) -> tuple[str, ...]:
        return tuple(getattr(self.contents.axes, axis))

    def is_known(self, axis: str, value: str) -> bool:
        if axis == "cuda":
            return self.facts.release(value) is not None
        if axis == "compiler" and value[-1:].isdecimal():
            return value in self.valid_values(axis)
        return axis in OMITTED or value in self.valid_values(axis)

    def problem(self, message: str, location: Location, hint: str | None = None) -> Problem:
        return Problem(message, self.document.position(*location), hint)

    def valid_values(self, axis: str) -> Collection[str]:
        if axis == "compiler":
            return known_compilers(self.facts)
        return {"cuda": self.facts.cuda, "os": self.facts.os, "arch": ARCHES}.get(axis, ())


def value_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield values that are unknown, or that are on no axis and should be."""
    contents, on_axes = source.contents, {axis: source.values(axis) for axis in AXES}
    for axis, values in on_axes.items():
        yield from duplicate_problems(source, ("axes", axis), values)
    yield from _wrong_values(source, contents.axes, ("axes",))
    for index, include in enumerate(contents.include):
        yield from _wrong_values(source, include, ("include", index))
    for index, exclude in enumerate(contents.exclude):
        yield from _wrong_values(source, exclude, ("exclude", index), on_axes)
    for index, entry in enumerate(contents.runs):
        yield from _wrong_values(source, entry, ("runs", index), on_axes)
    yield from _wrong_values(source, contents.defaults, ("defaults",), matrix.axes)
    compiler = contents.defaults.compiler
    if compiler and not any(
        compiler_in(compiler, cell, matrix.facts) == cell.compiler for cell in matrix.cells
    ):
        message = f"no cell has compiler `{compiler}`"
        yield source.problem(message, ("defaults", "compiler"))
    for os in contents.bases:
        if os not in matrix.axes["os"]:
            message = f"axis `os` has no value `{os}`"
            position = source.document.key_position("bases", os)
            yield Problem(message, position, did_you_mean(os, matrix.axes["os"]))


def source_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield values that are on no axis, and rules that apply to no cell left by those before."""
    undecided = [*matrix.cells, *(exclusion.cell for exclusion in matrix.exclusions)]
    for index, rule in enumerate(matrix.sources):
        wrong = list(_wrong_values(source, rule, ("sources", index), matrix.axes))
        left = [cell for cell in undecided if not rule.holds(cell)]
        if not wrong and len(left) == len(undecided):
            message = "names the source of no cell that has none yet"
            wrong = [source.problem(message, ("sources", index))]
        yield from wrong
        undecided = left


def image_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield environments whose cells mix an image with other sources of CUDA: they share one
    Dockerfile."""
    environments: dict[str, dict[str, Candidate]] = {}
    for cell in matrix.cells:
        cells_by_source = environments.setdefault(cell.environment, {})
        cells_by_source.setdefault(cell.toolchain.cuda.source, cell)
    for environment, cells in environments.items():
        if IMAGE in cells and len(cells) > 1:
            rule = next(i for i, row in enumerate(matrix.sources) if row.holds(cells[IMAGE]))
            others = ", ".join(sorted(cells.keys() - {IMAGE}))
            message = f"`{environment}` has cells from an image, and others from {others}"
            hint = "let an image be the source of all its cells, or exclude the others"
            yield source.problem(message, ("sources", rule), hint)


def component_problems(
    names: Sequence[str], document: Document, location: Location, facts: Facts
) -> Iterator[Problem]:
    """Yield components of the list at `location` that are unknown, or that no source has."""
    for index, name in enumerate(names):
        position = document.position(*location, index)
        if name not in facts.components:
            message = f"unknown component `{name}`"
            yield Problem(message, position, did_you_mean(name, facts.listable))
        elif policy := facts.components[name].policy:
            message = f"component `{name}` cannot be listed: `policy` in matrix.yaml asks for it"
            yield Problem(message, position, f"write `policy: {{{policy}: ...}}` there")
        elif name not in facts.listable:
            absence = facts.absence(name, None, "0")
            reason = absence.reason if absence else "no source has it"
            yield Problem(f"component `{name}` cannot be listed: {reason}", position)


def omission_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield names in `retain` that are repeated, or of no group of files that images omit."""
    yield from duplicate_problems(source, ("retain",), matrix.retained)
    omissions = matrix.facts.omissions
    for index, name in enumerate(matrix.retained):
        if name not in omissions:
            hint = did_you_mean(name, omissions) or f"known are {', '.join(sorted(omissions))}"
            yield source.problem(f"images omit no `{name}`", ("retain", index), hint)


def sm_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    yield from duplicate_problems(source, ("sm",), matrix.sm)
    facts = matrix.facts
    releases = {cell.cuda: row for cell in matrix.cells if (row := facts.release(cell.cuda))}
    supported = {sm: None for release in releases.values() for sm in release.sm}
    for index, sm in enumerate(matrix.sm):
        if releases and sm not in supported:
            message = f"no CUDA of this matrix knows GPU architecture `{sm}`"
            hint = did_you_mean(sm, supported) or f"it can be {', '.join(supported)}"
            yield source.problem(message, ("sm", index), hint)
    for cuda, release in releases.items():
        if not set(matrix.sm) & set(release.sm):
            message = f"`sm` names no GPU architecture that CUDA `{cuda}` knows"
            yield Problem(message, source.document.key_position("sm"))


def alias_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield aliases with values that are on no axis; if all are, those that match no cell, and
    those whose name is in use for another cell."""
    wrong_values = [
        problem
        for name, alias in matrix.aliases.items()
        for problem in _wrong_values(source, alias, ("aliases", name), matrix.axes)
    ]
    yield from wrong_values or _alias_name_problems(source, matrix)


def _alias_name_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    cells = matrix.cells
    reserved = {name for cell in cells for name in (cell.id, cell.environment)}
    generated = {name for cell in cells for name in generated_names(cell, matrix)}
    cell_of: dict[str, Candidate] = {}
    for alias_name, alias in matrix.aliases.items():
        position = source.document.key_position("aliases", alias_name)
        named = alias_cells(alias_name, alias, matrix, cells)
        if not named:
            yield Problem(f"alias `{alias_name}` means no cell of the matrix", position)
        for name, cell in named.items():
            is_other = name in generated and name not in generated_names(cell, matrix)
            if name in reserved or is_other or cell_of.setdefault(name, cell) != cell:
                message = f"alias `{alias_name}`: `{name}` already means something else"
                yield Problem(message, position)


def tier_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield patterns that match nothing, and budgets too small for what must be in the tier."""
    wrong_patterns = list(_always_problems(source, matrix)) if matrix.cells else []
    yield from wrong_patterns
    yield from _budget_problems(source, matrix.tiers["pr"], matrix.tiers["nightly"])
    if matrix.cells and not wrong_patterns:
        yield from _room_problems(source, matrix)


def _always_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    for name, budget in matrix.tiers.items():
        for index, pattern in enumerate(budget.always):
            try:
                select(matrix, [pattern])
            except NothingSelected as nothing:
                location = ("tiers", name, "always", index)
                yield source.problem(nothing.message, location, nothing.hint)


def _budget_problems(source: Source, pr: Budget, nightly: Budget) -> Iterator[Problem]:
    for key in ("jobs", "gpu_jobs"):
        least, count = getattr(pr, key), getattr(nightly, key)
        if count < least:
            message = f"tier `nightly` has `{key}: {count}`, fewer than the {least} of `pr`"
            stated = getattr(source.contents.tiers.get("nightly", Tier()), key)
            tier = "pr" if stated is None else "nightly"
            yield source.problem(message, ("tiers", tier, key))


def _room_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield budgets that the cells of `always` exceed, in `nightly` beside all jobs of `pr`."""
    pr, nightly = matrix.tiers["pr"], matrix.tiers["nightly"]
    pr_cells, nightly_cells = always_cells(matrix, pr), always_cells(matrix, nightly)
    if len(pr_cells) > pr.jobs:
        message = f"tier `pr` has `jobs: {pr.jobs}`, and `always` names {len(pr_cells)} cells"
        yield source.problem(message, ("tiers", "pr", "always"))
    additional = len(set(nightly_cells) - set(pr_cells))
    if pr.jobs <= nightly.jobs < pr.jobs + additional:
        message = (
            f"tier `nightly` has `jobs: {nightly.jobs}`, "
            f"too few for the {pr.jobs} of `pr` and {additional} more of `always`"
        )
        yield source.problem(message, ("tiers", "nightly", "always"))


def duplicate_problems(
    source: Source, location: Location, values: Sequence[str]
) -> Iterator[Problem]:
    """Yield the values of a list that it has before."""
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        current, other = (*location, index), (*location, first.setdefault(value, index))
        if other != current:
            selector, earlier = (source.document.selector(*each) for each in (current, other))
            subject = f"`{selector}` means `{value}`, which is" if selector else f"`{value}` is"
            where = f"{source.document.position(*other)}{f' as `{earlier}`' if earlier else ''}"
            yield source.problem(f"{subject} already listed at {where}", current)


def _wrong_values(
    source: Source,
    table: object,
    location: Location,
    listed: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Problem]:
    """Yield the values of a table that the `listed` axes do not have, or without these, that do not
    exist; and selectors of nothing."""
    for axis, value, place in _axis_values(table, location):
        position = source.document.position(*place)
        # The axis may have a compiler under another name: a selector, or as the default.
        on_axis = listed[axis] if listed and axis != "compiler" else None
        valid = source.valid_values(axis) if on_axis is None else on_axis
        if axis != "compiler" and is_selector(value):
            yield unmatched_selector_problem(value, position, source.facts)
        elif on_axis is not None and value not in valid:
            quoted = quote_release(value, source.document.selector(*place))
            message = f"axis `{axis}` has no value {quoted}"
            hint = suggest_name(value) or did_you_mean(value, valid)
            yield Problem(message, position, hint or f"it has {', '.join(valid) or 'none'}")
        elif on_axis is None and not source.is_known(axis, value):
            message = f"unknown {_AXIS_NOUNS[axis]} `{value}`"
            hint = suggest_name(value) or did_you_mean(value, valid)
            yield Problem(message, position, hint or f"it can be {', '.join(valid)}")


def _axis_values(table: object, location: Location) -> Iterator[tuple[str, str, Location]]:
    """Yield the values of the axes in a table, each with its axis and its location."""
    for axis in AXES:
        value = getattr(table, axis, None)
        if isinstance(value, str):
            yield axis, value, (*location, axis)
        else:
            yield from ((axis, item, (*location, axis, i)) for i, item in enumerate(value or ()))
