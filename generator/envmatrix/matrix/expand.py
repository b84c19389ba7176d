"""Expansion of a matrix file to cells: the product, less what is excluded or cannot exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product, starmap

from envmatrix.documents import Document
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.facts.model import Facts
from envmatrix.matrix import checks, library_checks
from envmatrix.matrix.cells import AXES, Candidate, Cell, sort_key
from envmatrix.matrix.checks import Source
from envmatrix.matrix.compatibility import Verdict, check
from envmatrix.matrix.contents import MatrixFile, OverlayFile, Tier, TierName
from envmatrix.matrix.flavours import components_of_images
from envmatrix.matrix.model import (
    COMPAT,
    Budget,
    Exclusion,
    Flavour,
    Matrix,
    source_rule,
)
from envmatrix.matrix.overlays import merge
from envmatrix.matrix.selectors import resolve_selectors
from envmatrix.matrix.validation import Reading, read_document

# Default budgets of tiers; `weekly` has every cell.
_BUDGETS: Mapping[TierName, Budget] = {
    "pr": Budget(jobs=12, gpu_jobs=4),
    "nightly": Budget(jobs=40, gpu_jobs=12),
}


@dataclass(slots=True)
class _Cells:
    components: tuple[str, ...]
    present: list[Cell] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def expand(
    document: Document,
    facts: Facts,
    flavours: Mapping[str, Flavour],
    overlays: Sequence[Document] = (),
) -> Matrix:
    """Return the matrix. Raise ConfigurationError with all problems of its files."""
    migrations = [read_document(OverlayFile, overlay) for overlay in overlays]
    reading = _apply_overlays(read_document(MatrixFile, document), migrations, facts)
    if reading.contents is None:
        raise ConfigurationError(*_sorted_problems(reading.document.problems))
    source = Source(reading.contents, reading.document, facts)
    cells = _Cells(_components(source, flavours))
    _fill(cells, source)
    reasons = {
        migration.document.file: migration.contents.reason
        for migration in migrations
        if migration.contents
    }
    matrix = _matrix(source, cells, flavours, reasons)
    problems = (*source.document.problems, *cells.problems, *_problems(source, matrix))
    if not matrix.cells and not problems:
        position = source.document.key_position("axes")
        first = next(iter(matrix.exclusions), None)
        hint = f"the first, `{first.cell.id}`: {first.reason}" if first else None
        raise ConfigurationError(Problem("no cell of the matrix can exist", position, hint))
    if problems:
        raise ConfigurationError(*_sorted_problems(problems))
    return matrix


def _apply_overlays(
    reading: Reading[MatrixFile], migrations: Sequence[Reading[OverlayFile]], facts: Facts
) -> Reading[MatrixFile]:
    """Return the matrix file with its overlays applied, after resolving selectors in all."""
    if reading.contents is None:
        documents = [reading.document, *(migration.document for migration in migrations)]
        problems = chain.from_iterable(document.problems for document in documents)
        raise ConfigurationError(*_sorted_problems(problems))
    overlays = [resolve_selectors(migration.document, facts) for migration in migrations]
    return read_document(MatrixFile, merge(resolve_selectors(reading.document, facts), overlays))


def _problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    cells = matrix.cells
    left_out = [exclusion.cell for exclusion in matrix.exclusions]
    yield from checks.axis_problems(source)
    yield from checks.include_problems(source)
    yield from checks.value_problems(source)
    yield from checks.source_problems(source, matrix.sources, [*cells, *left_out])
    yield from checks.image_problems(source, matrix)
    yield from library_checks.library_problems(source, matrix)
    yield from checks.target_problems(matrix)
    yield from checks.sm_problems(source, cells)
    yield from checks.tier_problems(source, matrix)
    wrong_values = list(checks.alias_value_problems(source))
    yield from wrong_values
    if not wrong_values:
        yield from checks.alias_problems(source, matrix.aliases, matrix.defaults, cells)


def _sorted_problems(problems: Iterable[Problem]) -> list[Problem]:
    nowhere = Position("", 0, 0)
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.position or nowhere)


def _matrix(
    source: Source, cells: _Cells, flavours: Mapping[str, Flavour], overlays: Mapping[str, str]
) -> Matrix:
    contents = source.contents
    return Matrix(
        cells=tuple(sorted(cells.present, key=sort_key)),
        exclusions=tuple(sorted(cells.exclusions, key=lambda exclusion: sort_key(exclusion.cell))),
        sources=contents.sources,
        require_cuda=contents.policy.require_cuda,
        cuda_compat=contents.policy.cuda_compat == "on",
        registry=contents.registry,
        axes=source.listed,
        defaults=contents.defaults,
        aliases=contents.aliases,
        sm=contents.sm,
        bases=contents.bases,
        libraries=tuple(library for _, library in sorted(contents.libraries.items())),
        components=cells.components,
        tiers={name: _budget(name, source) for name in _BUDGETS},
        flavours=flavours,
        facts=source.facts,
        overlays=overlays,
    )


def _budget(name: TierName, source: Source) -> Budget:
    entry, default = source.contents.tiers.get(name, Tier()), _BUDGETS[name]
    return Budget(
        jobs=default.jobs if entry.jobs is None else entry.jobs,
        gpu_jobs=default.gpu_jobs if entry.gpu_jobs is None else entry.gpu_jobs,
        always=entry.always,
    )


def _components(source: Source, flavours: Mapping[str, Flavour]) -> tuple[str, ...]:
    """Return the components that flavours, libraries and the policy ask for and that some source
    has."""
    entries = source.contents.libraries.values()
    requested = chain(components_of_images(flavours), *(entry.components for entry in entries))
    listed = tuple(name for name in dict.fromkeys(requested) if name in source.facts.listable)
    return (*listed, COMPAT) if source.contents.policy.cuda_compat == "on" else listed


def _fill(cells: _Cells, source: Source) -> None:
    excluded = _exclusions_by_cell(source, cells.problems)
    for candidate, position in _product(source):
        if candidate in excluded:
            cells.exclusions.append(excluded[candidate])
            continue
        cell = _check(candidate, position, source, cells)
        if isinstance(cell, Cell):
            cells.present.append(cell)
        else:
            exclusion = Exclusion(candidate, cell.explanation, cell.rule, position, cell.ref)
            cells.exclusions.append(exclusion)
    _include(source, cells)


def _check(
    candidate: Candidate,
    position: Position,
    source: Source,
    cells: _Cells,
    *,
    included: bool = False,
) -> Cell | Verdict:
    """Return the cell, with the image of its source and the GPU architectures of the matrix that
    its CUDA supports; or the verdict of the rule that the candidate fails."""
    rule = source_rule(candidate, source.contents.sources)
    toolchain = check(candidate, source.facts, rule.source if rule else None, cells.components)
    if isinstance(toolchain, Verdict):
        return toolchain
    cuda = replace(toolchain.cuda, image=rule.image) if rule else toolchain.cuda
    sm = tuple(sm for sm in source.contents.sm if sm in toolchain.sm)
    toolchain = replace(toolchain, cuda=cuda, sm=sm)
    cudnn, os, arch = candidate.cudnn, candidate.os, candidate.arch
    return Cell(candidate.cuda, cudnn, os, arch, toolchain, position, included)


def _product(source: Source) -> Iterator[tuple[Candidate, Position]]:
    """Yield the candidates whose values are known, each with the position of the value that adds
    it: one of an overlay, or else its CUDA."""
    for combination in product(*(_known_values(source, axis) for axis in AXES)):
        positions = [position for _, position in combination]
        added = (position for position in positions if position.file != source.document.file)
        yield _candidate(*(value for value, _ in combination)), next(added, positions[0])


def _known_values(source: Source, axis: str) -> list[tuple[str, Position]]:
    """Return the known values of an axis, each with the position of its first entry."""
    listed: dict[str, Position] = {}
    for index, value in enumerate(source.values(axis)):
        if source.is_known(axis, value):
            listed.setdefault(value, source.document.position("axes", axis, index))
    return list(listed.items())


def _exclusions_by_cell(source: Source, problems: list[Problem]) -> dict[Candidate, Exclusion]:
    """Return the exclusion of each excluded cell, by the first exclude that names it."""
    excluded: dict[Candidate, Exclusion] = {}
    for index, exclude in enumerate(source.contents.exclude):
        before, position = len(excluded), source.document.position("exclude", index)
        values = (getattr(exclude, axis) or source.values(axis) for axis in AXES)
        for candidate in starmap(_candidate, product(*values)):
            exclusion = Exclusion(candidate, exclude.reason, "exclude", position)
            excluded.setdefault(candidate, exclusion)
        if len(excluded) == before:
            message = "excludes nothing that is not excluded before it"
            problems.append(Problem(message, position))
    return excluded


def _include(source: Source, cells: _Cells) -> None:
    existing = {cell.id for cell in (*cells.present, *(row.cell for row in cells.exclusions))}
    for index, include in enumerate(source.contents.include):
        values = [getattr(include, axis) for axis in AXES]
        if not all(map(source.is_known, AXES, values)):
            continue
        candidate, position = _candidate(*values), source.document.position("include", index)
        if candidate.id in existing:
            problem = Problem(f"`{candidate.id}` is in the matrix already", position)
            cells.problems.append(problem)
            continue
        existing.add(candidate.id)
        cell = _check(candidate, position, source, cells, included=True)
        if isinstance(cell, Cell):
            cells.present.append(cell)
        else:
            message = f"`{candidate.id}` cannot exist: {cell.explanation}"
            cells.problems.append(Problem(message, position, f"rule `{cell.rule}`"))


def _candidate(cuda: str, cudnn: str, os: str, arch: str) -> Candidate:
    return Candidate(cuda, None if cudnn == "none" else cudnn, os, arch)
