"""Semantic checks of a matrix file that is valid by its schema: values that do not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from envmatrix.documents import Document, Location
from envmatrix.errors import NothingSelected, Problem
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import TARGETS
from envmatrix.matrix.cells import ARCHES, AXES, Candidate
from envmatrix.matrix.contents import MatrixFile, Tier
from envmatrix.matrix.model import Budget, CellAlias, Matrix, NameDefaults, SourceRule
from envmatrix.matrix.selection import select
from envmatrix.matrix.selectors import is_selector, quote_release, unmatched_selector_problem
from envmatrix.matrix.short_names import alias_cells, generated_names
from envmatrix.matrix.toolkit import IMAGE
from envmatrix.matrix.tiers import always_cells
from envmatrix.suggestions import did_you_mean

_AXIS_NOUNS = {"cuda": "CUDA release", "os": "operating system", "arch": "architecture"}


@dataclass(frozen=True, slots=True)
class Source:
    """A matrix file that is valid by its schema, with the positions of its parts and the facts."""

    contents: MatrixFile
    document: Document
    facts: Facts

    def values(self, axis: str) -> tuple[str, ...]:
        values: tuple[str, ...] = getattr(self.contents.axes, axis)
        return values

    @property
    def listed(self) -> Mapping[str, tuple[str, ...]]:
        """The values of each axis: those of the product, then those of the included cells."""
        values = {
            axis: (*self.values(axis), *(getattr(row, axis) for row in self.contents.include))
            for axis in AXES
        }
        return {axis: tuple(dict.fromkeys(row)) for axis, row in values.items()}

    def is_known(self, axis: str, value: str) -> bool:
        if axis == "cuda":
            return self.facts.release(value) is not None
        return axis == "cudnn" or value in self.valid_values(axis)

    def valid_values(self, axis: str) -> Collection[str]:
        return {"cuda": self.facts.cuda, "os": self.facts.os, "arch": ARCHES}.get(axis, ())


def axis_problems(source: Source) -> Iterator[Problem]:
    for axis in AXES:
        values = source.values(axis)
        yield from _duplicates(source, ("axes", axis), values)
        for index, value in enumerate(values):
            yield from _unknown_value(source, axis, value, ("axes", axis, index))


def include_problems(source: Source) -> Iterator[Problem]:
    """Yield unknown values of included cells; the cells themselves are checked by `expand`."""
    for index, include in enumerate(source.contents.include):
        for axis in AXES:
            yield from _unknown_value(
                source, axis, getattr(include, axis), ("include", index, axis)
            )


def value_problems(source: Source) -> Iterator[Problem]:
    """Yield values of excludes, defaults and bases that axes do not have."""
    listed, values = source.listed, {axis: source.values(axis) for axis in AXES}
    for index, exclude in enumerate(source.contents.exclude):
        yield from _missing_on_axes(source, exclude, ("exclude", index), values)
    yield from _missing_on_axes(source, source.contents.defaults, ("defaults",), listed)
    for os in source.contents.bases:
        if os not in listed["os"]:
            message = f"axis `os` has no value `{os}`"
            position = source.document.key_position("bases", os)
            yield Problem(message, position, did_you_mean(os, listed["os"]))


def source_problems(
    source: Source, rules: Sequence[SourceRule], cells: Sequence[Candidate]
) -> Iterator[Problem]:
    """Yield values that are on no axis, and rules that apply to no cell left by those before."""
    undecided, listed = list(cells), source.listed
    for index, rule in enumerate(rules):
        wrong = list(_missing_on_axes(source, rule, ("sources", index), listed))
        left = [cell for cell in undecided if not rule.holds(cell)]
        if not wrong and len(left) == len(undecided):
            message = "names the source of no cell that has none yet"
            wrong = [Problem(message, source.document.position("sources", index))]
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
            yield Problem(message, source.document.position("sources", rule), hint)


def alias_value_problems(source: Source) -> Iterator[Problem]:
    listed = source.listed
    for name, alias in source.contents.aliases.items():
        yield from _missing_on_axes(source, alias, ("aliases", name), listed)


def target_problems(matrix: Matrix) -> Iterator[Problem]:
    """Yield targets that no library of the matrix can be compiled for."""
    for arch, cell in {cell.arch: cell for cell in matrix.cells}.items():
        if matrix.libraries and not any(library.suits(arch) for library in matrix.libraries):
            message = f"no library can be compiled for `{arch}`: {TARGETS[arch].host_only}"
            hint = "say `cuda: none` of a library that needs no CUDA"
            yield Problem(message, cell.position, hint)


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


def sm_problems(source: Source, cells: Sequence[Candidate]) -> Iterator[Problem]:
    architectures, facts = source.contents.sm, source.facts
    yield from _duplicates(source, ("sm",), architectures)
    releases = {cell.cuda: row for cell in cells if (row := facts.release(cell.cuda))}
    supported = {sm: None for release in releases.values() for sm in release.sm}
    for index, sm in enumerate(architectures):
        if cells and sm not in supported:
            message = f"no CUDA of this matrix knows GPU architecture `{sm}`"
            position = source.document.position("sm", index)
            yield Problem(message, position, did_you_mean(sm, supported))
    for cuda, release in releases.items():
        if not set(architectures) & set(release.sm):
            message = f"`sm` names no GPU architecture that CUDA `{cuda}` knows"
            yield Problem(message, source.document.key_position("sm"))


def alias_problems(
    source: Source,
    aliases: Mapping[str, CellAlias],
    defaults: NameDefaults,
    cells: Sequence[Candidate],
) -> Iterator[Problem]:
    """Yield aliases that match no cell, and those whose name is in use for another cell."""
    reserved = {name for cell in cells for name in (cell.id, cell.environment)}
    generated = {name for cell in cells for name in generated_names(cell, defaults)}
    cell_of: dict[str, Candidate] = {}
    for alias_name, alias in aliases.items():
        position = source.document.key_position("aliases", alias_name)
        named = alias_cells(alias_name, alias, cells, defaults, source.listed["os"])
        if not named:
            yield Problem(f"alias `{alias_name}` means no cell of the matrix", position)
        for name, cell in named.items():
            is_other = name in generated and name not in generated_names(cell, defaults)
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
                position = source.document.position("tiers", name, "always", index)
                yield Problem(nothing.message, position, nothing.hint)


def _budget_problems(source: Source, pr: Budget, nightly: Budget) -> Iterator[Problem]:
    for key in ("jobs", "gpu_jobs"):
        least, count = getattr(pr, key), getattr(nightly, key)
        if count < least:
            message = f"tier `nightly` has `{key}: {count}`, fewer than the {least} of `pr`"
            stated = getattr(source.contents.tiers.get("nightly", Tier()), key)
            tier = "pr" if stated is None else "nightly"
            yield Problem(message, source.document.position("tiers", tier, key))


def _room_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield budgets that the cells of `always` exceed, in `nightly` beside all jobs of `pr`."""
    pr, nightly = matrix.tiers["pr"], matrix.tiers["nightly"]
    pr_cells, nightly_cells = always_cells(matrix, pr), always_cells(matrix, nightly)
    if len(pr_cells) > pr.jobs:
        message = f"tier `pr` has `jobs: {pr.jobs}`, and `always` names {len(pr_cells)} cells"
        yield Problem(message, source.document.position("tiers", "pr", "always"))
    additional = len(set(nightly_cells) - set(pr_cells))
    if pr.jobs <= nightly.jobs < pr.jobs + additional:
        message = (
            f"tier `nightly` has `jobs: {nightly.jobs}`, "
            f"too few for the {pr.jobs} of `pr` and {additional} more of `always`"
        )
        yield Problem(message, source.document.position("tiers", "nightly", "always"))


def _duplicates(source: Source, location: Location, values: Sequence[str]) -> Iterator[Problem]:
    first: dict[str, Location] = {}
    for index, value in enumerate(values):
        current = (*location, index)
        other = first.setdefault(value, current)
        if other is not current:
            selector, earlier = (source.document.selector(*each) for each in (current, other))
            subject = f"`{selector}` means `{value}`, which is" if selector else f"`{value}` is"
            where = f"{source.document.position(*other)}{f' as `{earlier}`' if earlier else ''}"
            yield Problem(
                f"{subject} already listed at {where}", source.document.position(*current)
            )


def _unknown_value(source: Source, axis: str, value: str, location: Location) -> Iterator[Problem]:
    position = source.document.position(*location)
    if is_selector(value):
        yield unmatched_selector_problem(value, position, source.facts)
    elif not source.is_known(axis, value):
        message = f"unknown {_AXIS_NOUNS[axis]} `{value}`"
        yield Problem(message, position, did_you_mean(value, source.valid_values(axis)))


def _missing_on_axes(
    source: Source, table: object, location: Location, listed: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    """Yield the values of a table that axes do not have, or that are selectors of nothing."""
    for axis, value, place in _axis_values(table, location):
        position = source.document.position(*place)
        if is_selector(value):
            yield unmatched_selector_problem(value, position, source.facts)
        elif value not in listed[axis]:
            quoted = quote_release(value, source.document.selector(*place))
            message = f"axis `{axis}` has no value {quoted}"
            yield Problem(message, position, did_you_mean(value, listed[axis]))


def _axis_values(table: object, location: Location) -> Iterator[tuple[str, str, Location]]:
    """Yield the values of the axes in a table, each with its axis and its location."""
    for axis in AXES:
        value = getattr(table, axis, None)
        if isinstance(value, str):
            yield axis, value, (*location, axis)
        else:
            yield from ((axis, item, (*location, axis, i)) for i, item in enumerate(value or ()))
