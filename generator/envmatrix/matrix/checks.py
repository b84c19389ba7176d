"""Semantic checks of a matrix file that is valid by its schema: values that do not exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from envmatrix.documents import Document, Location, Node
from envmatrix.errors import NothingSelected, Problem
from envmatrix.facts.model import Facts
from envmatrix.matrix.cells import ARCHES, AXES, OMITTED, TOOL_AXES, Candidate, Cell
from envmatrix.matrix.compiler_sources import compiler_rule
from envmatrix.matrix.compilers import compiler_in, known_compilers, resolve
from envmatrix.matrix.contents import MatrixFile, Tier
from envmatrix.matrix.model import Budget, Matrix, source_rule
from envmatrix.matrix.other_names import suggest_name
from envmatrix.matrix.pythons import python_in, python_of, resolve_pythons
from envmatrix.matrix.run_expansion import combinations
from envmatrix.matrix.selection import alias_cells, full_names_of, generated_names, select
from envmatrix.matrix.selectors import is_selector, quote_release, unmatched_selector_problem
from envmatrix.matrix.tiers import always_cells
from envmatrix.matrix.toolkit import IMAGE
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Listed, Scalar
from envmatrix.schema.shapes import Shape, shape_of, table_of
from envmatrix.suggestions import did_you_mean

# Scalars of any text.
_FREE = ("text", "value")
_AXIS_NOUNS = {
    "cuda": "CUDA release",
    "os": "operating system",
    "compiler": "compiler",
    "arch": "architecture",
}


# Words of names of cells, beside those of operating systems.
_WORD = re.compile(
    rf"cudnn[0-9.]+|(gcc|clang)[0-9]*|cudaclang|py3\.[0-9]+t?|{'|'.join(ARCHES)}", re.ASCII
)


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

    def off_axis(self, axis: str, value: str, location: Location) -> Problem:
        """Return the problem of a value that its axis does not have."""
        listed = self.values(axis)
        hint = did_you_mean(value, listed) or f"it has {', '.join(listed)}"
        return self.problem(f"axis `{axis}` has no value `{value}`", location, hint)

    def valid_values(self, axis: str) -> Collection[str]:
        if axis == "compiler":
            return known_compilers(self.facts)
        return {"cuda": self.facts.cuda, "os": self.facts.os, "arch": ARCHES}.get(axis, ())


def value_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield values that are unknown, or that are on no axis and should be."""
    contents, on_axes = source.contents, {axis: source.values(axis) for axis in AXES}
    yield from _wrong_values(source, contents.axes, ("axes",))
    for index, include in enumerate(contents.include):
        yield from _wrong_values(source, include, ("include", index))
    for index, exclude in enumerate(contents.exclude):
        yield from _wrong_values(source, exclude, ("exclude", index), on_axes)
    for index, entry in enumerate(contents.runs):
        yield from _wrong_values(source, entry, ("runs", index), on_axes)
        yield from _compilers_off_axis(source, matrix, index)
        yield from _pythons_off_axis(source, index)
    yield from _wrong_values(source, contents.defaults, ("defaults",), matrix.axes)
    compiler = contents.defaults.compiler
    if (
        compiler
        and source.is_known("compiler", compiler)
        and not any(
            compiler_in(compiler, cell, matrix.facts) == cell.compiler for cell in matrix.cells
        )
    ):
        message = f"no cell has compiler `{compiler}`"
        yield source.problem(message, ("defaults", "compiler"))
    python = contents.defaults.python
    if python and not any(
        python_in(python, cell.os, matrix.facts) == cell.python for cell in matrix.cells
    ):
        yield source.problem(f"no cell has Python `{python}`", ("defaults", "python"))
    for os in contents.bases:
        if os not in matrix.axes["os"]:
            message = f"axis `os` has no value `{os}`"
            position = source.document.key_position("bases", os)
            yield Problem(message, position, did_you_mean(os, matrix.axes["os"]))


def _compilers_off_axis(source: Source, matrix: Matrix, index: int) -> Iterator[Problem]:
    """Yield the compilers of an entry of `runs` that no value of the axis means in its cells."""
    entry, listed, facts = source.contents.runs[index], source.values("compiler"), source.facts
    rows = [row for systems in combinations(entry, matrix) for row in systems]
    cells = {
        Candidate(row["cuda"], None, row["os"], row["arch"], cuda_compiler=_of_clang(row))
        for row in rows
        if all(source.is_known(axis, row[axis]) for axis in ("cuda", "os", "arch"))
    }

    def is_on_axis(value: str) -> bool:
        return any(
            not resolve([value], cell, facts).keys().isdisjoint(resolve(listed, cell, facts))
            for cell in cells
        )

    for item, value in enumerate(entry.compiler or () if cells else ()):
        if source.is_known("compiler", value) and value not in listed and not is_on_axis(value):
            yield source.off_axis("compiler", value, ("runs", index, "compiler", item))


def _pythons_off_axis(source: Source, index: int) -> Iterator[Problem]:
    """Yield the Pythons of an entry of `runs` that no value of the axis means in its systems."""
    entry, listed = source.contents.runs[index], source.values("python")
    pairs = [
        (os, resolve_pythons(listed, os, source.facts)) for os in entry.os or source.values("os")
    ]
    for item, value in enumerate(entry.python or ()):
        if not any(python_in(value, os, source.facts) in of_axis for os, of_axis in pairs):
            yield source.off_axis("python", value, ("runs", index, "python", item))


def _of_clang(values: Mapping[str, str]) -> str | None:
    return "clang" if values["cuda_compiler"] == "clang" else None


# The rules that refuse compilers and Pythons.
_TOOL_RULES = ("compiler", "cuda-compiler", "python")


def tool_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield compilers and Pythons of the axes that no cell can have, each with the reason in the
    last one."""
    for axis in TOOL_AXES if not source.contents.runs else ():
        for index, value in enumerate(source.values(axis)):
            if value in OMITTED.values() or any(
                _has_tool(cell, axis, value, matrix.facts) for cell in matrix.cells
            ):
                continue
            refused = [
                row
                for row in matrix.exclusions
                if row.rule in _TOOL_RULES and _has_tool(row.cell, axis, value, matrix.facts)
            ]
            if refused:
                hint = f"`{refused[-1].cell.id}`: {refused[-1].reason}"
                message = f"no cell of the matrix can have `{axis}: {value}`"
                yield source.problem(message, ("axes", axis, index), hint)


def _has_tool(cell: Candidate, axis: str, value: str, facts: Facts) -> bool:
    if axis == "cuda_compiler":
        return (cell.cuda_compiler or OMITTED[axis]) == value
    if axis == "python":
        return cell.python == python_in(value, cell.os, facts)
    return cell.compiler in resolve((value,), cell, facts)


def source_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield values that are on no axis, and rules that apply to no cell left by those before."""
    undecided = [*matrix.cells, *(exclusion.cell for exclusion in matrix.exclusions)]
    for index, rule in enumerate(matrix.sources):
        wrong = list(_wrong_values(source, rule, ("sources", index), matrix.axes))
        if rule.is_of_compilers:
            yield from wrong or _idle_compilers(source, matrix, index)
            continue
        left = [cell for cell in undecided if not rule.holds(cell)]
        if not wrong and len(left) == len(undecided):
            message = "names the source of no cell that has none yet"
            wrong = [source.problem(message, ("sources", index))]
        yield from wrong
        undecided = left


def _idle_compilers(source: Source, matrix: Matrix, index: int) -> Iterator[Problem]:
    """Yield the compilers of a rule that no cell has from it."""
    rule, rules = matrix.sources[index], matrix.sources
    places = {id(row): place for place, row in enumerate(rules)}
    used = {(cell.compiler, places.get(id(compiler_rule(cell, rules)))) for cell in matrix.cells}
    for item, name in enumerate(rule.compiler or ()):
        if (name, index) not in used:
            message = f"no cell has compiler `{name}` from here"
            earlier = [place for place in range(index) if (name, place) in used]
            hint = "add it to the axis `compiler`, or remove it here"
            if earlier:
                position = source.document.position("sources", earlier[0])
                hint = f"remove it here: cells have it by the rule at {position}"
            elif name in source.values("compiler"):
                hint = "remove it here: no cell on the systems of this rule can have it"
            yield source.problem(message, ("sources", index, "compiler", item), hint)


def image_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield environments whose cells mix an image with other sources of CUDA: they share one
    Dockerfile."""
    environments: dict[str, dict[str, Candidate]] = {}
    for cell in matrix.cells:
        cells_by_source = environments.setdefault(cell.environment, {})
        cells_by_source.setdefault(cell.toolchain.cuda.source, cell)
    for environment, cells in environments.items():
        if IMAGE in cells and len(cells) > 1:
            of_image = source_rule(cells[IMAGE], matrix.sources)
            rule = next(i for i, row in enumerate(matrix.sources) if row is of_image)
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
    """Yield names in `retain` of no group of files that images omit."""
    omissions = matrix.facts.omissions
    for index, name in enumerate(matrix.retained):
        if name not in omissions:
            hint = did_you_mean(name, omissions) or f"known are {', '.join(sorted(omissions))}"
            yield source.problem(f"images omit no `{name}`", ("retain", index), hint)


def sm_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
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
    reserved = {name for cell in cells for name in full_names_of(cell, matrix.facts)}
    generated = {name for cell in cells for name in generated_names(cell, matrix)}
    cell_of: dict[str, Candidate] = {}
    for alias_name, alias in matrix.aliases.items():
        position = source.document.key_position("aliases", alias_name)
        named = alias_cells(alias_name, alias, matrix, cells)
        if not named:
            message = f"alias `{alias_name}` means no cell of the matrix"
            hint = "change its values, or remove it; `envmatrix why` says why a cell is left out"
            yield Problem(message, position, hint)
        for name, cell in named.items():
            is_other = name in generated and name not in generated_names(cell, matrix)
            if name in reserved or is_other or cell_of.setdefault(name, cell) != cell:
                message = f"alias `{alias_name}`: `{name}` already means something else"
                yield Problem(message, position)
            elif word := _contradiction(name, cell, matrix):
                message = f"alias `{alias_name}`: its name has `{word}`, and it means `{cell.id}`"
                yield Problem(message, position, "give it another name, or another meaning")
                break


def _contradiction(name: str, cell: Cell, matrix: Matrix) -> str | None:
    """Return a word of a name that begins like those of cells and that a cell does not have."""
    release, *words = name.split("-")
    if not re.fullmatch(r"cuda[0-9.]+", release):
        return None
    own = {word for each in generated_names(cell, matrix) for word in each.split("-")}
    own |= {*cell.id.split("-"), cell.host_compiler.kind, cell.host_compiler.word}
    own.add(f"py{python_of(cell, matrix.facts)}")
    stated = (word for word in words if word in matrix.facts.os or _WORD.fullmatch(word))
    if release.startswith(f"cuda{cell.cuda}."):  # a patch of it
        own.add(release)
    return next((word for word in (release, *stated) if word not in own), None)


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


def repeated_value_problems(source: Source, _matrix: Matrix) -> Iterator[Problem]:
    """Yield the values that lists have before, in all tables; free texts may be repeated."""
    for location, values in _lists(shape_of(MatrixFile), source.document.root, ()):
        yield from duplicate_problems(source, location, values)


def _lists(
    shape: Shape, node: Node, location: Location
) -> Iterator[tuple[Location, Sequence[str]]]:
    """Yield every list of names, versions or paths of a file, with its location."""
    if isinstance(node.content, str):
        return
    listed = shape.constraint(Listed)
    if listed and isinstance(node.content, tuple):
        shape = table_of(shape.kind).shapes[listed.key]
    if isinstance(node.content, tuple) and _is_of_names(shape):
        yield location, [str(child.content) for child in node.content]
        return
    for key, child in node.children.items():
        if shape.is_table:
            inner = table_of(shape.kind).shapes.get(str(key))
        else:
            inner = shape_of(shape.arguments[1 if shape.kind is Mapping else 0])
            if inner.is_table and isinstance(key, str) and shape.kind is tuple:
                inner = table_of(inner.kind).shapes.get(key)  # the only item, without a list
        if inner:
            yield from _lists(inner, child, (*location, key))


def _is_of_names(shape: Shape) -> bool:
    """Return whether the items of a list are texts of a kind."""
    inner = shape_of(shape.arguments[0]) if shape.kind is tuple else None
    if inner is None or inner.is_table or inner.kind in (tuple, Mapping):
        return False
    scalar = inner.constraint(Scalar)
    return inner.kind is Literal or (scalar is not None and scalar.name not in _FREE)


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
        # The axis may have it under another name: a selector, or as the default.
        is_resolved = axis in ("compiler", "python")
        on_axis = listed[axis] if listed and not is_resolved else None
        valid = source.valid_values(axis) if on_axis is None else on_axis
        if not is_resolved and is_selector(value):
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
