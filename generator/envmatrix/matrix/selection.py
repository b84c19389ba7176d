"""Names of cells: ids, short names such as `cuda12-aarch64` and patterns; and explanations of why
a cell is in the matrix or not."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, chain, product
from typing import TypeVar

from envmatrix.errors import ConfigurationError, NothingSelected, Position, Problem
from envmatrix.facts.model import Facts
from envmatrix.facts.versions import version_key
from envmatrix.matrix import files
from envmatrix.matrix.cells import (
    AXES,
    OMITTED,
    Candidate,
    Cell,
    compiler_key,
    gil_release,
    parse_cell,
    python_key,
    sort_key,
)
from envmatrix.matrix.compatibility import Verdict, trace
from envmatrix.matrix.compilers import compiler_in
from envmatrix.matrix.library import Library, LibraryStep
from envmatrix.matrix.model import CellAlias, Exclusion, Matrix, NameDefaults, source_rule
from envmatrix.matrix.python_versions import python_verdict
from envmatrix.matrix.pythons import python_in
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.tier_names import has_occasion
from envmatrix.matrix.variant_rules import compiler_verdicts
from envmatrix.matrix.variants import SEPARATOR
from envmatrix.records import dataclass
from envmatrix.suggestions import did_you_mean
from envmatrix.text import one_line

# The most names of cells in a hint.
_MOST_EXAMPLES = 5

# Characters that make a glob of a name.
_GLOB = re.compile(r"[*?\[]")

_Cell = TypeVar("_Cell", bound=Candidate)
_Rank = tuple[
    int, tuple[int, ...], tuple[int, ...], tuple[str, int, str], tuple[tuple[int, ...], str]
]


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a cell is in the matrix, and the reason."""

    cell: Candidate
    present: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.cell} {'exists' if self.present else 'does not exist'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Explanation(Presence):
    """The same with the `verdicts` of all rules, passed or not, and what it leads to."""

    verdicts: tuple[Verdict, ...]
    position: Position | None
    names: tuple[str, ...] = ()
    nearest: Cell | None = None


@dataclass(frozen=True, slots=True)
class LibraryExplanation:
    """The reason that a library, or a variant, is built in a cell or not: the verdicts of all rules
    that concern it."""

    library: Library
    cell: Cell
    verdicts: tuple[Verdict, ...]

    @property
    def present(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


@lru_cache(maxsize=8)
def short_names(matrix: Matrix) -> Mapping[str, Cell]:
    return _names_of(matrix, matrix.cells)


def find_cell(matrix: Matrix, name: str) -> Cell:
    """Return the cell with an id or a short name. Raise ConfigurationError with the reason if it is
    not in the matrix."""
    if cell := _cell(matrix, name):
        return cell
    raise ConfigurationError(refusal(matrix, name))


def select_libraries(matrix: Matrix, names: Collection[str]) -> tuple[Library, ...]:
    """Return the variants of libraries with these names, or all without names. A glob is compared
    with `LIBRARY@VARIANT`, so that `LIBRARY@*` has the default variant as well. Raise
    ConfigurationError for each name without any."""
    chosen: set[str] = set()
    problems = []
    for name in dict.fromkeys(names):
        matching = {library.name for library in matrix.variants if _is_named(library, name)}
        chosen |= matching
        if not matching:
            problems.append(_no_library(matrix, name))
    if problems:
        raise ConfigurationError(*problems)
    return tuple(library for library in matrix.variants if not names or library.name in chosen)


def _is_named(library: Library, name: str) -> bool:
    full = f"{library.declared_name}{SEPARATOR}{library.variant.name}"
    return library.name == name or (bool(_GLOB.search(name)) and fnmatch.fnmatchcase(full, name))


def _no_library(matrix: Matrix, name: str) -> Problem:
    by_name = {library.name: library for library in matrix.variants}
    declared = name.partition(SEPARATOR)[0]
    among = [each for each in by_name if each.startswith(f"{declared}{SEPARATOR}")]
    every = ", ".join(f"`{each}`" for each in among or by_name) or "none"
    hint = did_you_mean(name, among or by_name) or f"it has {every}"
    return Problem(f"matrix.yaml has no library `{one_line(name)}`", hint=hint)


def select(matrix: Matrix, patterns: Sequence[str]) -> tuple[Cell, ...]:
    """Return cells whose id, environment or a short name matches any of the globs; all without
    globs. Raise NothingSelected for a glob without a match."""
    if not patterns:
        return matrix.cells
    chosen = select_in_any([matrix], patterns)
    return tuple(cell for cell in matrix.cells if cell in chosen)


def is_for(library: Library, cell: Cell, matrix: Matrix) -> bool:
    """Return whether a library is compiled in a cell."""
    return all(verdict.passed for verdict in library_verdicts(library, cell, matrix))


def library_verdicts(library: Library, cell: Cell, matrix: Matrix) -> Iterator[Verdict]:
    """Yield the verdicts of the rules that decide whether a library, or a variant, is compiled in a
    cell; of those that concern it."""
    if not library.suits(cell.arch):
        message = f"library `{library.declared_name}` needs CUDA, and `{cell.id}` has none"
        yield Verdict("cuda", passed=False, explanation=message, ref="targets.py")
    yield from _cells_verdict(library.cells, cell, matrix, f"library `{library.declared_name}`")
    if library.python:
        yield python_verdict(library, cell, matrix.facts)
    if matrix.runs:
        passed = matrix.lists(library, cell)
        explanation = f"`runs` lists {'it' if passed else 'nothing of it'} in the cell"
        yield Verdict("runs", passed=passed, explanation=explanation, ref=files.MATRIX)
    declared = matrix.declared.get(library.declared_name)
    if declared is None or declared.variants == library.variants:  # it is no variant
        return
    variants = declared.variants
    if library.variant.named:
        cells = variants.named[library.variant.named].cells
        yield from _cells_verdict(cells, cell, matrix, f"variant `{library.variant.named}`")
    for row in variants.exclude:
        if row.matches(library.variant) and (not row.cells or cell in _cells(matrix, row.cells)):
            yield Verdict("exclude", passed=False, explanation=row.reason, ref=files.MATRIX)
    yield from compiler_verdicts(library, cell, matrix.facts)


def machines_of(
    requirements: Sequence[Requirement | None], cell: Cell, matrix: Matrix, tier: str
) -> tuple[Requirement | None, ...]:
    """Return the machines that something runs on in a cell, in a tier: those that it requires
    there, or any, as None, if it requires none anywhere."""
    if not requirements:
        return (None,)
    return tuple(row for row in requirements if row is None or _is_meant(row, cell, matrix, tier))


def steps_of(library: Library, cell: Cell, matrix: Matrix, tier: str) -> tuple[LibraryStep, ...]:
    """Return the steps of a library in a cell that run in a tier."""
    return tuple(step for step in library.steps.values() if _is_meant(step, cell, matrix, tier))


def _is_meant(row: Requirement | LibraryStep, cell: Cell, matrix: Matrix, tier: str) -> bool:
    is_there = not row.cells or cell in _cells(matrix, row.cells)
    return is_there and has_occasion(tier, row.tier)


def _cells_verdict(
    patterns: tuple[str, ...], cell: Cell, matrix: Matrix, subject: str
) -> Iterator[Verdict]:
    if patterns:
        passed, listed = cell in _cells(matrix, patterns), ", ".join(patterns)
        explanation = f"{subject} is for `{listed}`"
        yield Verdict("cells", passed=passed, explanation=explanation, ref=files.MATRIX)


# Cached, because the patterns of a library are compared with every cell.
@lru_cache(maxsize=1024)
def _cells(matrix: Matrix, patterns: tuple[str, ...]) -> frozenset[Cell]:
    """Return the cells of patterns; none of one without a match, which checks report."""
    names = _named_cells(matrix)
    return frozenset(chain.from_iterable(_matching(glob, [names]) for glob in _globs(patterns)))


def select_in_any(matrices: Sequence[Matrix], patterns: Sequence[str]) -> set[Cell]:
    """Return matching cells of all the matrices. Raise NothingSelected for a pattern that matches
    in none of them."""
    named_cells = [_named_cells(matrix) for matrix in matrices]
    chosen: set[Cell] = set()
    for pattern in _globs(patterns):
        cells = _matching(pattern, named_cells)
        if not cells:
            raise _nothing_selected(pattern, named_cells[0], matrices[0])
        chosen |= cells
    return chosen


def _globs(patterns: Sequence[str]) -> Iterator[str]:
    return (part.strip() for text in patterns for part in text.split(","))


def _matching(glob: str, named_cells: Sequence[Sequence[tuple[str, Cell]]]) -> set[Cell]:
    matches = re.compile(fnmatch.translate(glob)).match
    return {cell for names in named_cells for name, cell in names if matches(name)}


def candidates_named(matrix: Matrix, pattern: str) -> tuple[Candidate, ...]:
    """Return the cells that a name or a glob means, also those that are not in the matrix; empty if
    it means none."""
    if cell := _cell(matrix, pattern) or _absent_cell(matrix, pattern):
        return (cell,)
    matches = re.compile(fnmatch.translate(pattern)).match
    short = {**_absent_names(matrix), **short_names(matrix)}.items()
    named = {cell for name, cell in short if matches(name)}
    return tuple(
        cell
        for cell in (*matrix.cells, *(exclusion.cell for exclusion in matrix.exclusions))
        if cell in named or any(map(matches, full_names_of(cell, matrix.facts)))
    )


def presence_of(matrix: Matrix, cell: Candidate) -> Presence:
    """Return whether a cell is in the matrix, without all that `explain` tells of it."""
    entry = cell if isinstance(cell, Cell) else _exclusion(matrix, cell)
    verdicts = () if entry else _trace(matrix, cell)
    return Presence(cell, entry is cell, _reason(matrix, entry, verdicts))


def explain(matrix: Matrix, cell: Candidate) -> Explanation:
    entry = cell if isinstance(cell, Cell) else _exclusion(matrix, cell)
    verdicts = _trace(matrix, cell)
    return Explanation(
        cell=cell,
        present=entry is cell,
        reason=_reason(matrix, entry, verdicts),
        verdicts=verdicts,
        position=entry.position if entry else None,
        names=tuple(name for name, named in short_names(matrix).items() if named == cell),
        nearest=None if entry is cell else _nearest(matrix, cell),
    )


def explain_libraries(
    matrix: Matrix, cells: Sequence[Cell], names: Sequence[str]
) -> tuple[LibraryExplanation, ...]:
    """Return for each library of names or globs why each cell has it or not."""
    return tuple(
        LibraryExplanation(
            library,
            cell,
            (*library_verdicts(library, cell, matrix), *_needs_verdict(library, matrix)),
        )
        for library, cell in product(select_libraries(matrix, names), cells)
    )


def _needs_verdict(library: Library, matrix: Matrix) -> Iterator[Verdict]:
    """Yield what a library needs: in each of its cells there is all of it."""
    if needed := matrix.needs_of(library):
        explanation = f"compiled after {', '.join(f'`{each.name}`' for each in needed)}"
        yield Verdict("needs", passed=True, explanation=explanation, ref=files.MATRIX)


def _trace(matrix: Matrix, cell: Candidate) -> tuple[Verdict, ...]:
    rule = source_rule(cell, matrix.sources)
    return trace(cell, matrix.facts, rule.source if rule else None, matrix.components)


def _reason(matrix: Matrix, entry: Cell | Exclusion | None, verdicts: Iterable[Verdict]) -> str:
    if entry is None:
        return _absent_reason(verdicts)
    if isinstance(entry, Exclusion):
        return entry.reason
    if overlay := matrix.overlay_of(entry):
        return f"added by {overlay}"
    if matrix.runs:
        return f"an entry of `runs` has it, {entry.position}"
    return "included in matrix.yaml" if entry.included else "on the axes of matrix.yaml"


def _cell(matrix: Matrix, name: str) -> Cell | None:
    cell = matrix.by_id.get(name) or short_names(matrix).get(name)
    if cell or not (named := _parsed(matrix, name)):
        return cell
    return matrix.by_id.get(named.id)


def _absent_cell(matrix: Matrix, name: str) -> Candidate | None:
    """Return the cell that `name` would mean if every cell of the product existed."""
    return _absent_names(matrix).get(name) or _parsed(matrix, name)


def _parsed(matrix: Matrix, cell_id: str) -> Candidate | None:
    """Return the candidate of a well-formed id, which may name the default compiler or Python."""
    cell = parse_cell(cell_id)
    if cell is None or not cell.tools:
        return cell
    compiler = cell.compiler and compiler_in(cell.compiler, cell, matrix.facts)
    python = cell.python and python_in(cell.python, cell.os, matrix.facts)
    return replace(cell, compiler=compiler, python=python)


@lru_cache(maxsize=8)
def _absent_names(matrix: Matrix) -> Mapping[str, Candidate]:
    return _names_of(matrix, [exclusion.cell for exclusion in matrix.exclusions])


def _exclusion(matrix: Matrix, cell: Candidate) -> Exclusion | None:
    return _exclusions(matrix).get(cell.id)


@lru_cache(maxsize=8)
def _exclusions(matrix: Matrix) -> Mapping[str, Exclusion]:
    return {exclusion.cell.id: exclusion for exclusion in matrix.exclusions}


def refusal(matrix: Matrix, name: str) -> Problem:
    """Return why there is no cell of a name, with the nearest one as a hint."""
    cell = _absent_cell(matrix, name)
    if cell is None:
        candidates = (*matrix.by_id, *short_names(matrix))
        suggestion = did_you_mean(name, candidates) or _examples(candidates)
        return Problem(f"there is no cell `{one_line(name)}`", hint=suggestion)
    nearest = _nearest(matrix, cell)
    hint = f"the nearest cell that exists is `{nearest.id}`" if nearest else None
    exclusion = _exclusion(matrix, cell)
    if exclusion is None:
        reason = _absent_reason(_trace(matrix, cell))
        return Problem(f"there is no cell `{name}`: {reason}", hint=hint)
    full = "" if name == cell.id else f" (`{cell.id}`)"
    verb = "cannot exist"
    if exclusion.rule == "exclude":
        verb = f"is excluded ({exclusion.position})"
    return Problem(f"cell `{name}`{full} {verb}: {exclusion.reason}", hint=hint)


def _absent_reason(verdicts: Iterable[Verdict]) -> str:
    failed = [verdict.explanation for verdict in verdicts if not verdict.passed]
    return "; and ".join(["not listed in matrix.yaml", *failed[:1]])


def _nearest(matrix: Matrix, cell: Candidate) -> Cell | None:
    """Return the cell with the fewest axes changed, and of those the closest versions."""
    return min(matrix.cells, key=lambda other: _distance(cell, other), default=None)


def _distance(cell: Candidate, other: Candidate) -> tuple[object, ...]:
    changed = sum(getattr(cell, axis) != getattr(other, axis) for axis in AXES)
    # The architecture is the hardest to change, so it is changed last.
    first, second = compiler_key(cell.compiler), compiler_key(other.compiler)
    return (
        changed,
        cell.arch != other.arch,
        _version_distance(cell.cuda, other.cuda),
        _version_distance(cell.cudnn, other.cudnn),
        (first[0] != second[0], abs(first[1] - second[1])),
        _version_distance(*(gil_release(each.python or "") for each in (cell, other))),
        sort_key(other),
    )


def _version_distance(version: str | None, other: str | None) -> tuple[int, ...]:
    """Return a sort key; of another major, the release next to this one's is the closest."""
    first, second = ((*version_key(text or "0"), 0, 0)[:3] for text in (version, other))
    if first[0] == second[0]:
        return tuple(abs(left - right) for left, right in zip(first, second, strict=True))
    direction = 1 if second > first else -1
    return (abs(first[0] - second[0]), *(direction * part for part in second[1:]))


@lru_cache(maxsize=8)
def _named_cells(matrix: Matrix) -> Sequence[tuple[str, Cell]]:
    """Return every name that a pattern can match, with its cell."""
    full_names = (
        (name, cell) for cell in matrix.cells for name in full_names_of(cell, matrix.facts)
    )
    return (*short_names(matrix).items(), *full_names)


def full_names_of(cell: Candidate, facts: Facts) -> Iterator[str]:
    """Yield the id of a cell, first as it is, then with the default compiler and Python that it
    has; each without the architecture as well; and its environment."""
    compiler = cell.host_compiler.name if isinstance(cell, Cell) else cell.compiler
    compilers = dict.fromkeys((cell.compiler, compiler))
    system = facts.os.get(cell.os)
    pythons = dict.fromkeys((cell.python, cell.python or (system and system.python)))
    plain = cell.with_default_tools
    for compiler, python in product(compilers, pythons):
        named = replace(plain, compiler=compiler, cuda_compiler=cell.cuda_compiler, python=python)
        yield from (named.id, named.name_without_arch)
    if cell.tools:
        yield cell.environment


def _nothing_selected(
    pattern: str, named_cells: Sequence[tuple[str, Cell]], matrix: Matrix
) -> NothingSelected:
    if not pattern:
        return NothingSelected("the selection holds an empty pattern", hint="give a cell or a glob")
    if _absent_cell(matrix, pattern):
        problem = refusal(matrix, pattern)
        return NothingSelected(problem.message, hint=problem.hint)
    candidates = dict.fromkeys(name for name, _ in named_cells)
    message = f"`{one_line(pattern)}` matches no cell"
    hint = did_you_mean(pattern, candidates) or _examples(list(candidates))
    return NothingSelected(message, hint=hint)


def _examples(names: Sequence[str]) -> str:
    """Return a hint with some names of cells."""
    if not names:
        return "the matrix has no cells"
    more = len(names) - _MOST_EXAMPLES
    listed = ", ".join(f"`{name}`" for name in names[:_MOST_EXAMPLES])
    return f"there are {listed}{f' and {more} more names' if more > 0 else ''}"


def _names_of(matrix: Matrix, cells: Sequence[_Cell]) -> dict[str, _Cell]:
    """Return the cell of each short name; an alias overrides a generated name."""
    named = ((name, cell) for cell in cells for name in generated_names(cell, matrix))
    names = _best(named, matrix)
    for alias_name, alias in matrix.aliases.items():
        names.update(alias_cells(alias_name, alias, matrix, cells))
    return names


def generated_names(cell: Candidate, matrix: Matrix) -> Iterator[str]:
    """Yield all short names that the cell could have: `cuda12`, `cuda12.4`, ... before the
    compilers, the Python and the arch."""
    cudas = [f"cuda{version}" for version in _prefixes(cell.cuda)]
    cudnns = [f"-cudnn{version}" for version in _prefixes(cell.cudnn)] if cell.cudnn else [""]
    for parts in product(cudas, cudnns, _compiler_names(cell, matrix), _python_names(cell, matrix)):
        yield from _with_arch("".join(parts), cell, matrix.defaults)


def _compiler_names(cell: Candidate, matrix: Matrix) -> Iterator[str]:
    """Yield the parts of short names for compilers: none for those of `defaults`, otherwise the
    compiler or its kind alone, such as `-clang16` and `-clang`."""
    compiler, cuda = cell.compiler, f"-cuda{cell.cuda_compiler}" if cell.cuda_compiler else ""
    if compiler is None and isinstance(cell, Cell) and len(matrix.axes["compiler"]) > 1:
        compiler = cell.host_compiler.name
    if compiler:
        kind, _, major = compiler.partition("-")
        yield from (f"-{kind}{major}{cuda}", f"-{kind}{cuda}")
    elif cuda:
        yield cuda
    if _has_compilers(cell, NameDefaults(), matrix):
        yield ""


def _python_names(cell: Candidate, matrix: Matrix) -> Iterator[str]:
    """Yield the parts of short names for a Python: none for that of `defaults`."""
    python = cell.python
    if python is None and len(matrix.axes["python"]) > 1:
        python = matrix.facts.os[cell.os].python
    if python:
        yield f"-py{python}"
    if _has_python(cell, NameDefaults(), matrix):
        yield ""


def _has_python(cell: Candidate, alias: CellAlias | NameDefaults, matrix: Matrix) -> bool:
    """Return whether a cell has the Python of an alias, or else that of `defaults`."""
    python = alias.python or matrix.defaults.python or OMITTED["python"]
    return python_in(python, cell.os, matrix.facts) == cell.python


def _has_compilers(cell: Candidate, alias: CellAlias | NameDefaults, matrix: Matrix) -> bool:
    """Return whether a cell has the compilers of an alias, or else those of `defaults`."""
    defaults = matrix.defaults
    cuda_compiler = alias.cuda_compiler or defaults.cuda_compiler or OMITTED["cuda_compiler"]
    if cuda_compiler != (cell.cuda_compiler or OMITTED["cuda_compiler"]):
        return False
    compiler = alias.compiler or defaults.compiler or OMITTED["compiler"]
    return compiler_in(compiler, cell, matrix.facts) == cell.compiler


def alias_cells(
    name: str, alias: CellAlias, matrix: Matrix, cells: Iterable[_Cell]
) -> dict[str, _Cell]:
    """Return the names of one alias, with the cell of each."""
    named = [
        (full, cell)
        for cell in cells
        if _matches(alias, cell, matrix)
        for full in ((name,) if alias.arch else _with_arch(name, cell, matrix.defaults))
    ]
    return _best(named, matrix)


def _matches(alias: CellAlias, cell: Candidate, matrix: Matrix) -> bool:
    return (
        (alias.cuda, alias.cudnn) == (cell.cuda, cell.cudnn)
        and alias.os in (None, cell.os)
        and alias.arch in (None, cell.arch)
        and _has_compilers(cell, alias, matrix)
        and _has_python(cell, alias, matrix)
    )


def _with_arch(stem: str, cell: Candidate, defaults: NameDefaults) -> Iterator[str]:
    yield f"{stem}-{cell.arch}"
    if cell.arch == defaults.arch:
        yield stem


def _prefixes(version: str) -> list[str]:
    """Return `12`, `12.4` and `12.4.1` for `12.4.1`."""
    return [*accumulate(version.split("."), "{}.{}".format)]


def _best(named: Iterable[tuple[str, _Cell]], matrix: Matrix) -> dict[str, _Cell]:
    """Return for each name the cell of the default operating system, or else of the first one of
    the matrix, and of the newest versions."""
    systems = dict.fromkeys((*filter(None, [matrix.defaults.os]), *matrix.axes["os"]))
    ranks = {os: -place for place, os in enumerate(systems)}
    best: dict[str, tuple[_Rank, _Cell]] = {}
    for name, cell in named:
        versions = version_key(cell.cuda), version_key(cell.cudnn or "")
        compiler = cell.host_compiler.name if isinstance(cell, Cell) else cell.compiler
        rank = ranks[cell.os], *versions, compiler_key(compiler), python_key(cell.python)
        if name not in best or rank > best[name][0]:
            best[name] = rank, cell
    return {name: cell for name, (_, cell) in best.items()}
