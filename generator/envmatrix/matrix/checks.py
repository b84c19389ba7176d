"""What can be wrong with a matrix file whose shape is right: values that name nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from envmatrix.errors import NothingSelected, Problem
from envmatrix.matrix.cells import ARCHES, AXES, Cell
from envmatrix.matrix.document import Document, Location
from envmatrix.matrix.facts import Facts
from envmatrix.matrix.model import Alias, Budget, Defaults, Matrix, SourceRule
from envmatrix.matrix.names import alias_cells, generated_names
from envmatrix.matrix.schema import MatrixFile, Tier
from envmatrix.matrix.selection import select
from envmatrix.matrix.selectors import is_selector, spelling, unmatched
from envmatrix.matrix.subject import IMAGE
from envmatrix.matrix.suggest import did_you_mean
from envmatrix.matrix.targets import TARGETS
from envmatrix.matrix.tiers import asked_for

# What a rule under `sources` can look at.
SOURCE_AXES = ("cuda", "os", "arch")

_KNOWN_AS = {"cuda": "CUDA release", "os": "operating system", "arch": "architecture"}


@dataclass(frozen=True, slots=True)
class Source:
    """A matrix file of the right shape, where its parts stand, and what is known besides."""

    contents: MatrixFile
    document: Document
    facts: Facts

    def values(self, axis: str) -> tuple[str, ...]:
        values: tuple[str, ...] = getattr(self.contents.axes, axis)
        return values

    def listed(self, axis: str) -> tuple[str, ...]:
        """All values of an axis: those of the product, then those of the included cells."""
        included = (getattr(include, axis) for include in self.contents.include)
        return tuple(dict.fromkeys((*self.values(axis), *included)))

    def is_known(self, axis: str, value: str) -> bool:
        if axis == "cuda":
            return self.facts.release(value) is not None
        return axis == "cudnn" or value in self.known(axis)

    def known(self, axis: str) -> Collection[str]:
        return {"cuda": self.facts.cuda, "os": self.facts.os, "arch": ARCHES}.get(axis, ())


def axis_problems(source: Source) -> Iterator[Problem]:
    for axis in AXES:
        values = source.values(axis)
        yield from _repeated(source, ("axes", axis), values)
        for index, value in enumerate(values):
            yield from _unknown(source, axis, value, ("axes", axis, index))


def include_problems(source: Source) -> Iterator[Problem]:
    """Values that nothing is known of; the cells themselves are checked when they are made."""
    for index, include in enumerate(source.contents.include):
        for axis in AXES:
            yield from _unknown(source, axis, getattr(include, axis), ("include", index, axis))


def exclude_problems(source: Source) -> Iterator[Problem]:
    for index, exclude in enumerate(source.contents.exclude):
        for axis in AXES:
            for item, value in enumerate(getattr(exclude, axis) or ()):
                location = ("exclude", index, axis, item)
                yield from _off_axis(source, axis, value, location, source.values(axis))


def default_problems(source: Source) -> Iterator[Problem]:
    for axis in ("os", "arch"):
        value = getattr(source.contents.defaults, axis)
        yield from _off_axis(source, axis, value, ("defaults", axis), source.listed(axis))


def base_problems(source: Source) -> Iterator[Problem]:
    for os in source.contents.bases:
        if os not in source.listed("os"):
            message = f"axis `os` has no value `{os}`"
            position = source.document.key_position("bases", os)
            yield Problem(message, position, did_you_mean(os, source.listed("os")))


def source_problems(
    source: Source, rules: Sequence[SourceRule], cells: Sequence[Cell]
) -> Iterator[Problem]:
    """Values that are on no axis, and rules that leave no cell to decide."""
    undecided = list(cells)
    for index, rule in enumerate(rules):
        wrong = list(_off_axes(source, index))
        left = [cell for cell in undecided if not rule.holds(cell)]
        if not wrong and len(left) == len(undecided):
            message = "names the source of no cell that has none yet"
            wrong = [Problem(message, source.document.position("sources", index))]
        yield from wrong
        undecided = left


def image_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """All cells of an environment are one Dockerfile, which has CUDA's files or an image."""
    found: dict[str, dict[str, Cell]] = {}
    for planned in matrix.cells:
        place = found.setdefault(planned.cell.environment, {})
        place.setdefault(planned.toolchain.cuda.source, planned.cell)
    for environment, cells in found.items():
        if IMAGE in cells and len(cells) > 1:
            rule = next(i for i, its in enumerate(matrix.sources) if its.holds(cells[IMAGE]))
            others = ", ".join(sorted(cells.keys() - {IMAGE}))
            message = f"`{environment}` has cells from an image, and others from {others}"
            hint = "let an image be the source of all its cells, or exclude the others"
            yield Problem(message, source.document.position("sources", rule), hint)


def _off_axes(source: Source, rule: int) -> Iterator[Problem]:
    for axis in SOURCE_AXES:
        for item, value in enumerate(getattr(source.contents.sources[rule], axis) or ()):
            location = ("sources", rule, axis, item)
            yield from _off_axis(source, axis, value, location, source.listed(axis))


def alias_value_problems(source: Source) -> Iterator[Problem]:
    listed = {axis: source.listed(axis) for axis in AXES}
    for name, alias in source.contents.aliases.items():
        for axis in AXES:
            value = None if (axis, alias.cudnn) == ("cudnn", "none") else getattr(alias, axis)
            yield from _off_axis(source, axis, value, ("aliases", name, axis), listed[axis])


def target_problems(matrix: Matrix) -> Iterator[Problem]:
    """Targets that no library of the matrix can be compiled for."""
    for arch, planned in {planned.cell.arch: planned for planned in matrix.cells}.items():
        if matrix.libraries and not any(its.suits(arch) for its in matrix.libraries):
            message = f"no library can be compiled for `{arch}`: {TARGETS[arch].host_only}"
            hint = "say `cuda: none` of a library that needs no CUDA"
            yield Problem(message, planned.position, hint)


def component_problems(
    names: Sequence[str], document: Document, location: Location, facts: Facts
) -> Iterator[Problem]:
    """Components of a list at `location` that nothing is known of, or that no source has."""
    for index, name in enumerate(names):
        position = document.position(*location, index)
        if name not in facts.components:
            message = f"nothing is known of component `{name}`"
            yield Problem(message, position, did_you_mean(name, facts.listable))
        elif policy := facts.components[name].policy:
            message = f"component `{name}` cannot be listed: `policy` in matrix.yaml asks for it"
            yield Problem(message, position, f"write `policy: {{{policy}: ...}}` there")
        elif name not in facts.listable:
            absence = facts.absence(name, None, "0")
            reason = absence.reason if absence else "no source has it"
            yield Problem(f"component `{name}` cannot be listed: {reason}", position)


def sm_problems(source: Source, cells: Sequence[Cell]) -> Iterator[Problem]:
    wanted = source.contents.sm
    yield from _repeated(source, ("sm",), wanted)
    releases = {cell.cuda: source.facts.cuda[_release(cell)] for cell in cells}
    known = {sm: None for release in releases.values() for sm in release.sm}
    for index, sm in enumerate(wanted):
        if cells and sm not in known:
            message = f"no CUDA of this matrix knows GPU architecture `{sm}`"
            position = source.document.position("sm", index)
            yield Problem(message, position, did_you_mean(sm, known))
    for cuda, release in releases.items():
        if not set(wanted) & set(release.sm):
            message = f"`sm` names no GPU architecture that CUDA `{cuda}` knows"
            yield Problem(message, source.document.key_position("sm"))


def alias_problems(
    source: Source, aliases: dict[str, Alias], defaults: Defaults, cells: Sequence[Cell]
) -> Iterator[Problem]:
    """Aliases that mean no cell, or whose name means another one already."""
    taken = {name for cell in cells for name in (cell.id, cell.environment)}
    generated = {name for cell in cells for name in generated_names(cell, defaults)}
    meant: dict[str, Cell] = {}
    for alias_name, alias in aliases.items():
        position = source.document.key_position("aliases", alias_name)
        named = alias_cells(alias_name, alias, cells, defaults, source.listed("os"))
        if not named:
            yield Problem(f"alias `{alias_name}` means no cell of the matrix", position)
        for name, cell in named.items():
            is_other = name in generated and name not in generated_names(cell, defaults)
            if name in taken or is_other or meant.setdefault(name, cell) != cell:
                message = f"alias `{alias_name}`: `{name}` already means something else"
                yield Problem(message, position)


def tier_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Patterns that match nothing, and budgets that do not hold what must be in the tier."""
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
        least, given = getattr(pr, key), getattr(nightly, key)
        if given < least:
            message = f"tier `nightly` has `{key}: {given}`, fewer than the {least} of `pr`"
            stated = source.contents.tiers.get("nightly", Tier()).model_fields_set
            tier = "nightly" if key in stated else "pr"
            yield Problem(message, source.document.position("tiers", tier, key))


def _room_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """What `always` names has to fit, in `nightly` beside all that `pr` may ever have."""
    pr, nightly = matrix.tiers["pr"], matrix.tiers["nightly"]
    of_pr, own = asked_for(matrix, pr), asked_for(matrix, nightly)
    if len(of_pr) > pr.jobs:
        message = f"tier `pr` has `jobs: {pr.jobs}`, and `always` names {len(of_pr)} cells"
        yield Problem(message, source.document.position("tiers", "pr", "always"))
    more = len(set(own) - set(of_pr))
    if pr.jobs <= nightly.jobs < pr.jobs + more:
        message = (
            f"tier `nightly` has `jobs: {nightly.jobs}`, "
            f"too few for the {pr.jobs} of `pr` and {more} more of `always`"
        )
        yield Problem(message, source.document.position("tiers", "nightly", "always"))


def _release(cell: Cell) -> str:
    return ".".join(cell.cuda.split(".")[:2])


def _repeated(source: Source, location: Location, values: Sequence[str]) -> Iterator[Problem]:
    first: dict[str, Location] = {}
    for index, value in enumerate(values):
        here = (*location, index)
        other = first.setdefault(value, here)
        if other is not here:
            selector, earlier = (source.document.selector(*each) for each in (here, other))
            what = f"`{selector}` means `{value}`, which is" if selector else f"`{value}` is"
            where = f"{source.document.position(*other)}{f' as `{earlier}`' if earlier else ''}"
            yield Problem(f"{what} already listed at {where}", source.document.position(*here))


def _unknown(source: Source, axis: str, value: str, location: Location) -> Iterator[Problem]:
    position = source.document.position(*location)
    if is_selector(value):
        yield unmatched(value, position, source.facts)
    elif not source.is_known(axis, value):
        message = f"nothing is known of {_KNOWN_AS[axis]} `{value}`"
        yield Problem(message, position, did_you_mean(value, source.known(axis)))


def _off_axis(
    source: Source, axis: str, value: str | None, location: Location, listed: Sequence[str]
) -> Iterator[Problem]:
    position = source.document.position(*location)
    if value is not None and is_selector(value):
        yield unmatched(value, position, source.facts)
    elif value is not None and value not in listed:
        spelt = spelling(value, source.document.selector(*location))
        message = f"axis `{axis}` has no value {spelt}"
        yield Problem(message, position, did_you_mean(value, listed))
