"""Expansion of a matrix file to cells: the product, less what is excluded or cannot exist."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import lru_cache
from itertools import chain, product

from envmatrix.documents import Document, Node
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.facts.model import Facts
from envmatrix.matrix import checks
from envmatrix.matrix.cells import AXES, OMITTED, Candidate, Cell, Toolchain, sort_key
from envmatrix.matrix.checks import Source
from envmatrix.matrix.compatibility import Verdict, check
from envmatrix.matrix.compiler_sources import with_compilers
from envmatrix.matrix.compilers import resolve
from envmatrix.matrix.contents import Exclude, MatrixFile, OverlayFile, Tier
from envmatrix.matrix.flavours import IMAGES
from envmatrix.matrix.library_checks import library_problems
from envmatrix.matrix.model import (
    COMPAT,
    COMPILERS,
    Budget,
    Exclusion,
    Flavour,
    Matrix,
    SourceRule,
    source_rule,
)
from envmatrix.matrix.needs_checks import needs_problems
from envmatrix.matrix.overlays import merge
from envmatrix.matrix.pythons import resolve_pythons
from envmatrix.matrix.requirement_checks import requirement_problems, step_problems
from envmatrix.matrix.run_checks import idle_entry, idle_values, run_problems
from envmatrix.matrix.run_expansion import Listed, Values, combinations, planned_runs
from envmatrix.matrix.runner_checks import runner_problems
from envmatrix.matrix.runners import DEFAULT_RUNNERS
from envmatrix.matrix.selectors import resolve_selectors
from envmatrix.matrix.size_checks import size_problems
from envmatrix.matrix.tier_names import TierName
from envmatrix.matrix.validation import Reading, read_document
from envmatrix.matrix.variant_checks import variant_problems
from envmatrix.records import dataclass

# Default budgets of tiers; `weekly` has every cell.
_BUDGETS: Mapping[TierName, Budget] = {
    "pr": Budget(jobs=12, gpu_jobs=4),
    "nightly": Budget(jobs=40, gpu_jobs=12),
}

_CHECKS: tuple[Callable[[Source, Matrix], Iterator[Problem]], ...] = (
    checks.repeated_value_problems,
    checks.tool_problems,
    checks.source_problems,
    checks.image_problems,
    library_problems,
    variant_problems,
    run_problems,
    step_problems,
    requirement_problems,
    needs_problems,
    runner_problems,
    checks.sm_problems,
    checks.omission_problems,
    checks.tier_problems,
    checks.alias_problems,
)


def expand(
    document: Document,
    facts: Facts,
    flavours: Mapping[str, Flavour],
    overlays: Sequence[Document] = (),
) -> Matrix:
    """Return the matrix. Raise ConfigurationError with all problems of its files."""
    migrations = [read_document(OverlayFile, overlay) for overlay in overlays]
    base = read_document(MatrixFile, document)
    reading = _apply_overlays(base, migrations, facts)
    if reading.contents is None:
        raise _error(reading.document.problems)
    rejected = _rejected_entries(document, base.document)
    facts = with_compilers(facts, _meant_rules(reading.contents, rejected))
    source = Source(reading.contents, reading.document, facts)
    if problems := [*size_problems(source)]:
        raise _error((*source.document.problems, *problems))
    matrix = _without_cells(source, flavours, migrations)
    listing = _Listing(source, matrix)
    listed = list(listing.entries())
    outcomes = list(listing.outcomes() if listed else _outcomes(source, matrix))
    cells = {outcome for outcome in outcomes if isinstance(outcome, Cell)}
    exclusions = {outcome for outcome in outcomes if isinstance(outcome, Exclusion)}
    matrix = replace(
        matrix,
        cells=tuple(sorted(cells, key=sort_key)),
        exclusions=tuple(sorted(exclusions, key=lambda exclusion: sort_key(exclusion.cell))),
    )
    runs, idle = planned_runs(matrix, listed)
    if runs:
        in_use = {run.cell for run in runs}
        matrix = replace(
            matrix, runs=runs, cells=tuple(cell for cell in matrix.cells if cell in in_use)
        )
    problems = [*source.document.problems, *checks.value_problems(source, matrix)]
    wrong = {problem.position for problem in problems}
    wrong |= {node.position for node in _entries(source.document) if _is_around(node, wrong)}
    problems += (row for row in outcomes if isinstance(row, Problem) and row.position not in wrong)
    problems += chain.from_iterable(check(source, matrix) for check in _CHECKS)
    problems += [] if problems else [idle_entry(source, index) for index in idle]
    if not cells and not problems:
        problems.append(_no_cell_problem(source, matrix))
    if problems:
        raise _error(problems)
    return matrix


def _apply_overlays(
    reading: Reading[MatrixFile], migrations: Sequence[Reading[OverlayFile]], facts: Facts
) -> Reading[MatrixFile]:
    """Return the matrix file with its overlays applied, after resolving selectors in all."""
    if reading.contents is None:
        documents = [reading.document, *(migration.document for migration in migrations)]
        raise _error(chain.from_iterable(document.problems for document in documents))
    overlays = [resolve_selectors(migration.document, facts) for migration in migrations]
    document = merge(resolve_selectors(reading.document, facts), overlays)
    return reading if document is reading.document else read_document(MatrixFile, document)


def _meant_rules(contents: MatrixFile, rejected: Iterable[Node]) -> Iterator[SourceRule]:
    """Yield the rules of `sources`; of compilers, those with a mistake as if they were for every
    system and Clang of the axes, so that nothing is told that only follows from it."""
    systems = {*contents.axes.os, *(row.os for row in contents.include)}
    for rule in contents.sources:
        yield rule if systems.issuperset(rule.os or ()) else replace(rule, os=None)
    clangs = [name for name in contents.axes.compiler if name.startswith("clang-")]
    majors = tuple(name for name in clangs if name[-1].isdecimal())
    for entry in rejected:
        if (kind := entry.child("source")) and kind.content == COMPILERS:
            yield SourceRule(source=COMPILERS, compiler=majors)


def _rejected_entries(document: Document, valid: Document) -> Sequence[Node]:
    """Return the entries that were left out of a matrix file because they are invalid."""
    positions = {entry.position for entry in _entries(valid)}
    return [entry for entry in _entries(document) if entry.position not in positions]


def _entries(document: Document) -> Iterator[Node]:
    """Yield the entries of the lists of a matrix file that name values of axes."""
    for key in ("include", "exclude", "runs", "sources"):
        if listed := document.root.child(key):
            yield from listed.children.values()


def _is_around(node: Node, positions: Container[Position | None]) -> bool:
    return any(
        child.position in positions or _is_around(child, positions)
        for child in node.children.values()
    )


def _error(problems: Iterable[Problem]) -> ConfigurationError:
    nowhere = Position("", 0, 0)
    unique = dict.fromkeys(problems)
    return ConfigurationError(*sorted(unique, key=lambda problem: problem.position or nowhere))


def _no_cell_problem(source: Source, matrix: Matrix) -> Problem:
    position = source.document.key_position("axes")
    first = next(iter(matrix.exclusions), None)
    hint = f"the first, `{first.cell.id}`: {first.reason}" if first else None
    return Problem("no cell of the matrix can exist", position, hint)


def _without_cells(
    source: Source, flavours: Mapping[str, Flavour], migrations: Sequence[Reading[OverlayFile]]
) -> Matrix:
    """Return the matrix without cells and exclusions, which are decided with the rest of it."""
    contents = source.contents
    included = {axis: [getattr(row, axis) for row in contents.include] for axis in AXES}
    return Matrix(
        cells=(),
        exclusions=(),
        sources=contents.sources,
        require_cuda=contents.policy.require_cuda,
        cuda_compat=contents.policy.cuda_compat == "on",
        dev_images=contents.policy.dev_images == "on",
        registry=contents.registry,
        runners=contents.ci.runners or DEFAULT_RUNNERS,
        ci_install=contents.ci.install,
        axes={axis: tuple(dict.fromkeys((*source.values(axis), *included[axis]))) for axis in AXES},
        defaults=contents.defaults,
        aliases=contents.aliases,
        sm=contents.sm,
        retained=contents.retain,
        commit_url=contents.commit_url,
        bases=contents.bases,
        libraries=tuple(library for _, library in sorted(contents.libraries.items())),
        runs=(),
        components=_components(source, flavours),
        tiers={name: _budget(name, source) for name in _BUDGETS},
        flavours=flavours,
        facts=source.facts,
        overlays={row.document.file: row.contents.reason for row in migrations if row.contents},
    )


def _budget(name: TierName, source: Source) -> Budget:
    entry = source.contents.tiers.get(name, Tier())
    counts = {"jobs": entry.jobs, "gpu_jobs": entry.gpu_jobs}
    stated = {key: count for key, count in counts.items() if count is not None}
    return replace(_BUDGETS[name], always=entry.always, **stated)


def _components(source: Source, flavours: Mapping[str, Flavour]) -> tuple[str, ...]:
    """Return the components that flavours, libraries and the policy ask for and that some source
    has."""
    entries = source.contents.libraries.values()
    of_images = [flavours[name].components for name in IMAGES if name in flavours]
    requested = chain(*of_images, *(entry.components for entry in entries))
    listed = tuple(name for name in dict.fromkeys(requested) if name in source.facts.listable)
    return (*listed, COMPAT) if source.contents.policy.cuda_compat == "on" else listed


def _outcomes(source: Source, matrix: Matrix) -> Iterator[Cell | Exclusion | Problem]:
    """Yield the cells and exclusions of the product, the included cells, and the problems of
    excludes and includes."""
    excluded: dict[Candidate, Exclusion] = {}
    candidates = _product(source)
    for index, exclude in enumerate(source.contents.exclude):
        before, position = len(excluded), source.document.position("exclude", index)
        values = {axis: getattr(exclude, axis) or source.values(axis) for axis in AXES}
        for candidate in _candidates(values, source.facts):
            if (exclude.compiler or exclude.python) and candidate not in candidates:
                continue
            exclusion = Exclusion(candidate, exclude.reason, "exclude", position)
            excluded.setdefault(candidate, exclusion)
        if len(excluded) == before:
            yield Problem("excludes nothing that is not excluded before it", position)
        else:
            yield from _off_axis(exclude, index, source, candidates)
    for candidate, position in candidates.items():
        yield excluded.get(candidate) or _check(candidate, position, matrix)
    yield from _included(source, matrix, set(candidates))


def _off_axis(
    exclude: Exclude, index: int, source: Source, candidates: Collection[Candidate]
) -> Iterator[Problem]:
    """Yield the compilers and Pythons of an exclude that no candidate has where it applies."""
    values = {axis: getattr(exclude, axis) or source.values(axis) for axis in AXES}
    for axis in ("compiler", "python"):
        listed = source.values(axis)
        for item, value in enumerate(getattr(exclude, axis) or ()):
            meant = _candidates({**values, axis: (value,)}, source.facts)
            is_known = source.is_known(axis, value) and value not in listed
            if is_known and not any(candidate in candidates for candidate in meant):
                yield source.off_axis(axis, value, ("exclude", index, axis, item))


# Rules that say more than others about a cell that exists in no system.
_TELLING = ("compiler", "cuda-compiler", "python", "exclude")


@dataclass(frozen=True, slots=True)
class _Listing:
    """Decides the cells that listed runs mean. `decisions` are those about candidates, `excludes`
    the entries of `exclude` that have an effect, and `results` what comes of the runs."""

    source: Source
    matrix: Matrix
    decisions: dict[Candidate, Cell | Exclusion] = field(default_factory=dict)
    excludes: set[int] = field(default_factory=set)
    results: list[Cell | Exclusion | Problem] = field(default_factory=list)

    def entries(self) -> Iterator[Listed]:
        """Yield the listed runs with their cells."""
        source = self.source
        for index, entry in enumerate(source.contents.runs):
            position = source.document.position("runs", index)
            cells: list[Cell] = []
            rejected: list[tuple[Values, Exclusion]] = []
            used: set[tuple[str, str]] = set()
            for systems in combinations(entry, self.matrix):
                decided = self._decide(systems, position)
                if isinstance(decided, Exclusion):
                    rejected.append((systems[0], decided))
                else:
                    cells += decided
                    used.update(systems[0].items() if decided else ())
            self.results.extend([*cells, *(row for _, row in rejected)])
            self.results.extend(idle_values(source, index, used, rejected))
            yield entry, position, tuple(dict.fromkeys(cells))

    def outcomes(self) -> Iterator[Cell | Exclusion | Problem]:
        """Yield the cells of all entries, their exclusions, and the problems."""
        yield from self.results
        for index in range(len(self.source.contents.exclude)):
            if index not in self.excludes:
                message = "excludes nothing that an entry of `runs` means"
                yield self.source.problem(message, ("exclude", index))

    def _decide(self, systems: Sequence[Values], position: Position) -> Sequence[Cell] | Exclusion:
        """Return the cells in the first system that can have any, or else the exclusion that says
        the most."""
        exclusions: list[Exclusion] = []
        for values in systems:
            if all(self.source.is_known(*value) for value in values.items()):
                of_axes = {axis: (value,) for axis, value in values.items()}
                candidates = _candidates(of_axes, self.source.facts)
                decided = [self._decision(candidate, position) for candidate in candidates]
                if cells := [each for each in decided if isinstance(each, Cell)]:
                    return cells
                exclusions += [each for each in decided if isinstance(each, Exclusion)]
        return max(exclusions, key=lambda row: row.rule in _TELLING, default=())

    def _decision(self, candidate: Candidate, position: Position) -> Cell | Exclusion:
        if candidate not in self.decisions:
            self.decisions[candidate] = self._exclusion(candidate) or _check(
                candidate, position, self.matrix
            )
        return self.decisions[candidate]

    def _exclusion(self, candidate: Candidate) -> Exclusion | None:
        for index, exclude in enumerate(self.source.contents.exclude):
            if _excludes(exclude, candidate, self.source.facts):
                self.excludes.add(index)
                position = self.source.document.position("exclude", index)
                return Exclusion(candidate, exclude.reason, "exclude", position)
        return None


def _excludes(exclude: Exclude, candidate: Candidate, facts: Facts) -> bool:
    values = {axis: getattr(candidate, axis) or OMITTED.get(axis) for axis in AXES}
    stated = {axis: row for axis in AXES if (row := getattr(exclude, axis)) is not None}
    compilers, pythons = stated.pop("compiler", None), stated.pop("python", None)
    return (
        all(values[axis] in row for axis, row in stated.items())
        and (compilers is None or candidate.compiler in resolve(compilers, candidate, facts))
        and (pythons is None or candidate.python in resolve_pythons(pythons, candidate.os, facts))
    )


def _included(source: Source, matrix: Matrix, existing: set[Candidate]) -> Iterator[Cell | Problem]:
    for index, include in enumerate(source.contents.include):
        values = {axis: getattr(include, axis) for axis in AXES}
        if not all(source.is_known(*value) for value in values.items()):
            continue
        each = {axis: (value,) for axis, value in values.items()}
        (candidate,), position = (
            _candidates(each, source.facts),
            source.document.position("include", index),
        )
        if candidate in existing:
            yield Problem(f"`{candidate.id}` is in the matrix already", position)
            continue
        existing.add(candidate)
        cell = _check(candidate, position, matrix)
        if isinstance(cell, Cell):
            yield replace(cell, included=True)
        else:
            message = f"`{candidate.id}` cannot exist: {cell.reason}"
            yield Problem(message, position, f"rule `{cell.rule}`")


def _check(candidate: Candidate, position: Position, matrix: Matrix) -> Cell | Exclusion:
    """Return the cell, with the image of its source and the GPU architectures of the matrix that
    its CUDA supports; or its exclusion by the rule that the candidate fails."""
    rule = source_rule(candidate, matrix.sources)
    toolchain = check(candidate, matrix.facts, rule.source if rule else None, matrix.components)
    if isinstance(toolchain, Verdict):
        return Exclusion(candidate, toolchain.explanation, toolchain.rule, position, toolchain.ref)
    toolchain = _of_matrix(matrix.sm, toolchain, rule.image if rule else None)
    if not toolchain.sm and candidate.cuda_compiler:
        reason = f"{candidate.compiler} compiles for none of the GPU architectures in `sm`"
        return Exclusion(candidate, reason, "cuda-compiler", position, "clang.yaml")
    return Cell(
        candidate.cuda,
        candidate.cudnn,
        candidate.os,
        candidate.arch,
        toolchain,
        position,
        compiler=candidate.compiler,
        cuda_compiler=candidate.cuda_compiler,
        python=candidate.python,
    )


# Cached, because cells that differ in compilers only have the same.
@lru_cache(maxsize=1024)
def _of_matrix(sm: tuple[str, ...], toolchain: Toolchain, image: str | None) -> Toolchain:
    """Return a toolchain with an image of CUDA, and with those of its GPU architectures that the
    matrix lists."""
    listed = tuple(name for name in sm if name in toolchain.sm)
    return replace(toolchain, cuda=replace(toolchain.cuda, image=image), sm=listed)


def _product(source: Source) -> Mapping[Candidate, Position]:
    """Return the candidates whose values are known, each with the position of the value that adds
    it: one of an overlay, or else its CUDA."""
    positions = {axis: _known_values(source, axis) for axis in AXES}
    values = {axis: tuple(of_axis) for axis, of_axis in positions.items()}
    return {
        candidate: _first_added(
            [positions[axis][value] for axis, value in zip(AXES, origin, strict=True)], source
        )
        for candidate, origin in _candidates(values, source.facts).items()
    }


def _first_added(positions: Sequence[Position], source: Source) -> Position:
    """Return the first position in an overlay, or else the first one."""
    added = (position for position in positions if position.file != source.document.file)
    return next(added, positions[0])


def _known_values(source: Source, axis: str) -> Mapping[str, Position]:
    """Return the known values of an axis, each with the position of its first entry."""
    listed: dict[str, Position] = {}
    for index, value in enumerate(source.values(axis)):
        if source.is_known(axis, value):
            listed.setdefault(value, source.document.position("axes", axis, index))
    return listed


def _candidates(
    values: Mapping[str, Sequence[str]], facts: Facts
) -> Mapping[Candidate, tuple[str, ...]]:
    """Return the candidates of a product of values, each with the values that it comes from."""
    candidates: dict[Candidate, tuple[str, ...]] = {}
    plain = product(*(values[axis] for axis in AXES if axis not in ("compiler", "python")))
    for cuda, cudnn, os, cuda_compiler, arch in plain:
        of_cuda = None if cuda_compiler == OMITTED["cuda_compiler"] else cuda_compiler
        of_cudnn = None if cudnn == OMITTED["cudnn"] else cudnn
        cell = Candidate(cuda, of_cudnn, os, arch, cuda_compiler=of_cuda)
        compilers = resolve(values["compiler"], cell, facts).items()
        pythons = resolve_pythons(values["python"], os, facts).items()
        for (compiler, value), (python, release) in product(compilers, pythons):
            is_plain = compiler is None and python is None
            named = cell if is_plain else replace(cell, compiler=compiler, python=python)
            candidates.setdefault(named, (cuda, cudnn, os, value, cuda_compiler, release, arch))
    return candidates
