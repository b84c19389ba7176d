"""From a matrix file to its cells: the product, less what is excluded or cannot exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product

from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.matrix import checks, libraries
from envmatrix.matrix.cells import AXES, Cell, docker_arch, sort_key
from envmatrix.matrix.checks import Source
from envmatrix.matrix.compatibility import Impossible, Toolchain, check
from envmatrix.matrix.document import Document
from envmatrix.matrix.facts import Facts
from envmatrix.matrix.flavours import components_of_images
from envmatrix.matrix.model import (
    COMPAT,
    Alias,
    Budget,
    Defaults,
    Exclusion,
    Flavour,
    Matrix,
    PlannedCell,
    Publication,
    Signer,
    SourceRule,
    source_rule,
)
from envmatrix.matrix.overlays import merge
from envmatrix.matrix.reading import Reading, read
from envmatrix.matrix.schema import (
    Exclude,
    MatrixFile,
    OverlayFile,
    RegistryEntry,
    Tier,
    TierName,
)
from envmatrix.matrix.selectors import resolve

# What a tier may have where `tiers` does not say; `weekly` has every cell.
_BUDGETS: Mapping[TierName, Budget] = {
    "pr": Budget(jobs=12, gpu_jobs=4),
    "nightly": Budget(jobs=40, gpu_jobs=12),
}


@dataclass(slots=True)
class _Cells:
    sources: tuple[SourceRule, ...]
    components: tuple[str, ...]
    planned: list[PlannedCell] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def expand(
    document: Document,
    facts: Facts,
    flavours: Mapping[str, Flavour],
    overlays: Sequence[Document] = (),
) -> Matrix:
    """The matrix, or a ConfigurationError with everything that is wrong with its files."""
    migrations = [read(OverlayFile, overlay) for overlay in overlays]
    reading = _migrated(read(MatrixFile, document), migrations, facts)
    if reading.contents is None:
        raise ConfigurationError(*_in_order(reading.problems))
    source = Source(reading.contents, reading.document, facts)
    cells = _Cells(_source_rules(source), _components(source, flavours))
    _fill(cells, source)
    reasons = {each.document.file: each.contents.reason for each in migrations if each.contents}
    matrix = _matrix(source, cells, flavours, reasons)
    problems = (*reading.problems, *cells.problems, *_problems(source, matrix))
    if not matrix.cells and not problems:
        position = source.document.key_position("axes")
        first = next(iter(matrix.exclusions), None)
        hint = f"the first, `{first.cell.id}`: {first.reason}" if first else None
        raise ConfigurationError(Problem("no cell of the matrix can exist", position, hint))
    if problems:
        raise ConfigurationError(*_in_order(problems))
    return matrix


def _migrated(
    reading: Reading[MatrixFile], migrations: Sequence[Reading[OverlayFile]], facts: Facts
) -> Reading[MatrixFile]:
    """The matrix file with its overlays applied, every selector resolved before."""
    if reading.contents is None:
        problems = (problem for each in migrations for problem in each.problems)
        return replace(reading, problems=(*reading.problems, *problems))
    overlays = [resolve(each.document, facts) for each in migrations]
    return read(MatrixFile, merge(resolve(reading.document, facts), overlays))


def _problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    cells = [planned.cell for planned in matrix.cells]
    left_out = [exclusion.cell for exclusion in matrix.exclusions]
    yield from checks.axis_problems(source)
    yield from checks.include_problems(source)
    yield from checks.exclude_problems(source)
    yield from checks.default_problems(source)
    yield from checks.base_problems(source)
    yield from checks.source_problems(source, matrix.sources, [*cells, *left_out])
    yield from checks.image_problems(source, matrix)
    yield from libraries.problems(source, matrix)
    yield from checks.target_problems(matrix)
    yield from checks.sm_problems(source, cells)
    yield from checks.tier_problems(source, matrix)
    wrong_values = list(checks.alias_value_problems(source))
    yield from wrong_values
    if not wrong_values:
        yield from checks.alias_problems(source, dict(matrix.aliases), matrix.defaults, cells)


def _in_order(problems: tuple[Problem, ...]) -> list[Problem]:
    nowhere = Position("", 0, 0)
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.position or nowhere)


def _matrix(
    source: Source, cells: _Cells, flavours: Mapping[str, Flavour], overlays: Mapping[str, str]
) -> Matrix:
    contents = source.contents
    return Matrix(
        cells=tuple(sorted(cells.planned, key=lambda planned: sort_key(planned.cell))),
        exclusions=tuple(sorted(cells.exclusions, key=lambda found: sort_key(found.cell))),
        sources=cells.sources,
        require_cuda=contents.policy.require_cuda,
        cuda_compat=contents.policy.cuda_compat == "on",
        registry=_publication(contents.registry),
        axes={axis: source.listed(axis) for axis in AXES},
        defaults=Defaults(os=contents.defaults.os, arch=contents.defaults.arch),
        aliases={
            name: Alias(alias.cuda, _cudnn(alias.cudnn), alias.os, alias.arch)
            for name, alias in contents.aliases.items()
        },
        sm=contents.sm,
        bases=contents.bases,
        libraries=libraries.libraries(source),
        components=cells.components,
        tiers={name: _budget(name, source) for name in _BUDGETS},
        flavours=flavours,
        facts=source.facts,
        overlays=overlays,
    )


def _publication(entry: RegistryEntry | None) -> Publication | None:
    if entry is None:
        return None
    is_signed = entry.key or entry.identity
    signer = Signer(entry.key, entry.identity, entry.issuer) if is_signed else None
    hosts = tuple(docker_arch(arch) for arch in dict.fromkeys(entry.hosts))
    return Publication(entry.repository, hosts, signer)


def _budget(name: TierName, source: Source) -> Budget:
    given, otherwise = source.contents.tiers.get(name, Tier()), _BUDGETS[name]
    return Budget(
        jobs=int(given.jobs or otherwise.jobs),
        gpu_jobs=int(given.gpu_jobs or otherwise.gpu_jobs),
        always=given.always,
    )


def _components(source: Source, flavours: Mapping[str, Flavour]) -> tuple[str, ...]:
    """What flavours, libraries and the policy ask for, of what can be had at all."""
    entries = source.contents.libraries.values()
    asked = chain(components_of_images(flavours), *(its.components for its in entries))
    listed = tuple(name for name in dict.fromkeys(asked) if name in source.facts.listable)
    return (*listed, COMPAT) if source.contents.policy.cuda_compat == "on" else listed


def _fill(cells: _Cells, source: Source) -> None:
    excluded = _excluded(source, cells.problems)
    for cell, position in _product(source):
        if cell in excluded:
            index, exclude = excluded[cell]
            where = source.document.position("exclude", index)
            cells.exclusions.append(Exclusion(cell, exclude.reason, "exclude", where))
        else:
            _place(cell, position, source, cells)
    _include(source, cells)


def _place(cell: Cell, position: Position, source: Source, cells: _Cells) -> None:
    match _checked(cell, source, cells):
        case Impossible(rule, reason, ref):
            cells.exclusions.append(Exclusion(cell, reason, rule, position, ref))
        case Toolchain() as toolchain:
            cells.planned.append(PlannedCell(cell, _narrowed(toolchain, source), position))


def _checked(cell: Cell, source: Source, cells: _Cells) -> Toolchain | Impossible:
    rule = source_rule(cell, cells.sources)
    verdict = check(cell, source.facts, rule.source if rule else None, cells.components)
    if isinstance(verdict, Toolchain) and rule:
        return replace(verdict, cuda=replace(verdict.cuda, image=rule.image))
    return verdict


def _source_rules(source: Source) -> tuple[SourceRule, ...]:
    """The rules of the file; each looks at the axes that it gives."""
    return tuple(
        SourceRule(
            rule.source,
            {axis: values for axis in checks.SOURCE_AXES if (values := getattr(rule, axis))},
            rule.image,
        )
        for rule in source.contents.sources
    )


def _narrowed(toolchain: Toolchain, source: Source) -> Toolchain:
    """Of the GPU architectures the matrix asks for, those that the toolchain knows."""
    return replace(toolchain, sm=tuple(sm for sm in source.contents.sm if sm in toolchain.sm))


def _product(source: Source) -> Iterator[tuple[Cell, Position]]:
    """The cells whose values are known, with the position of the value that asks for each: one
    that an overlay adds, or else its CUDA."""
    for combination in product(*(_known(source, axis) for axis in AXES)):
        cuda, cudnn, os, arch = (value for value, _ in combination)
        positions = [position for _, position in combination]
        added = (position for position in positions if position.file != source.document.file)
        yield Cell(cuda, _cudnn(cudnn), os, arch), next(added, positions[0])


def _known(source: Source, axis: str) -> list[tuple[str, Position]]:
    """The known values of an axis, each where it is listed first."""
    listed: dict[str, Position] = {}
    for index, value in enumerate(source.values(axis)):
        if source.is_known(axis, value):
            listed.setdefault(value, source.document.position("axes", axis, index))
    return list(listed.items())


def _excluded(source: Source, problems: list[Problem]) -> dict[Cell, tuple[int, Exclude]]:
    """The first exclude of each cell; walks what is excluded, so the cost is that of the result."""
    excluded: dict[Cell, tuple[int, Exclude]] = {}
    for index, exclude in enumerate(source.contents.exclude):
        before = len(excluded)
        for cell in _named_by(exclude, source):
            excluded.setdefault(cell, (index, exclude))
        if len(excluded) == before:
            position = source.document.position("exclude", index)
            message = "excludes nothing that is not excluded before it"
            problems.append(Problem(message, position))
    return excluded


def _named_by(exclude: Exclude, source: Source) -> Iterator[Cell]:
    values = (getattr(exclude, axis) or source.values(axis) for axis in AXES)
    for cuda, cudnn, os, arch in product(*values):
        yield Cell(cuda, _cudnn(cudnn), os, arch)


def _include(source: Source, cells: _Cells) -> None:
    seen = {planned.cell for planned in cells.planned}
    seen |= {exclusion.cell for exclusion in cells.exclusions}
    for index, include in enumerate(source.contents.include):
        cell = Cell(include.cuda, _cudnn(include.cudnn), include.os, include.arch)
        position = source.document.position("include", index)
        if not all(source.is_known(axis, getattr(include, axis)) for axis in AXES):
            continue
        if cell in seen:
            problem = Problem(f"`{cell.id}` is in the matrix already", position)
            cells.problems.append(problem)
            continue
        seen.add(cell)
        _place_asked_for(cell, position, source, cells)


def _place_asked_for(cell: Cell, position: Position, source: Source, cells: _Cells) -> None:
    verdict = _checked(cell, source, cells)
    if isinstance(verdict, Impossible):
        message = f"`{cell.id}` cannot exist: {verdict.reason}"
        cells.problems.append(Problem(message, position, f"rule `{verdict.rule}`"))
    else:
        cells.planned.append(PlannedCell(cell, _narrowed(verdict, source), position, included=True))


def _cudnn(value: str) -> str | None:
    return None if value == "none" else value
