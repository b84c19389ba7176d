"""The jobs of libraries in selected cells, as a machine would do them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING

from envmatrix import __version__
from envmatrix.app.places import Place
from envmatrix.app.requirements import unmet
from envmatrix.app.selected_libraries import (
    absent_submodules,
    named_libraries,
    require_directories,
    require_own_builds,
    require_steps,
)
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.images.contents import content_hash
from envmatrix.images.model import (
    Image,
    analysis_image,
    can_compile_on,
    images_of,
    lacks_cross,
    library_image,
    runs_natively_on,
)
from envmatrix.jobs.expansion import Basis, CellRun, Durations, JobPlan, job_graph
from envmatrix.jobs.model import VERB_OF, Kind, Resources, Verb
from envmatrix.lock.model import PackageSet, archive_set, source_set, wheels_set
from envmatrix.machine.resources import DOWNLOADS, host_arch, processors
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import is_for, machines_of, steps_of
from envmatrix.matrix.tier_names import TIERS
from envmatrix.records import dataclass
from envmatrix.results.location import Location
from envmatrix.vcs.tree_identity import tree_identities, tree_identity

if TYPE_CHECKING:
    from envmatrix.results.records import Run

# Steps that compile, of runs that do something else afterwards.
_COMPILING = ("configure", "compile", "install")
# The kinds of jobs by the verbs of recorded runs.
_KINDS: Mapping[str, Kind] = {str(verb): kind for kind, verb in VERB_OF.items()}


@dataclass(frozen=True, slots=True)
class JobSelection:
    """The jobs to plan: those of a `verb` in cells by patterns and tier; of the named `libraries`,
    or of all without a name; those that changes `since` a revision affect; in how many `shards`,
    if not in those of each library.
    With names of `steps`, they are those alone."""

    verb: Verb = "test"
    patterns: Sequence[str] = ()
    tier: str | None = None
    libraries: Sequence[str] = ()
    since: str | None = None
    shards: int | None = None
    steps: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CellRuns:
    """The selected libraries in the selected cells: what jobs of them are made from; the cells in
    which nothing can be done, with the reason; and the identities of the sources by library."""

    runs: Sequence[CellRun]
    left_out: Sequence[tuple[Cell, str]]
    sources: Mapping[str, str]


# Returns the architecture (Docker's name) of the machine that does the jobs of a cell.
HostOf = Callable[[Cell], str]


def plan_jobs(
    workspace: Workspace,
    selection: JobSelection,
    machine: Resources,
    console: Console,
    *,
    assigns_gpus: bool = False,
) -> JobPlan:
    """Return the jobs of the selected libraries in the selected cells, for a machine with these
    resources; images are built on this one. A cluster `assigns_gpus` to each job. Raise
    ConfigurationError for submodules of their sources that are not checked out."""
    selected = cell_runs(workspace, selection, console)
    if absent := absent_submodules(workspace.root, libraries_of(selected.runs)):
        raise ConfigurationError(*absent)
    machine = machine._replace(downloads=DOWNLOADS)  # which are made on this machine
    basis = basis_of(workspace, selected.runs, machine, recorded_durations(workspace, console))
    is_analysis = selection.verb == "analyse"
    basis = replace(
        basis,
        shards=selection.shards,
        baselines=baselines(workspace) if is_analysis else "",
        assigns_gpus=assigns_gpus,
    )
    graph = job_graph(selected.runs, basis, selection.verb)
    return JobPlan(graph, machine, selected.left_out, selected.sources, is_analysis)


def cell_runs(
    workspace: Workspace,
    selection: JobSelection,
    console: Console,
    host_of: HostOf = lambda _: host_arch(),
) -> CellRuns:
    """Return the selected libraries in the selected cells, for machines of the architectures that
    `host_of` says; by default all are like this one."""
    is_analysis = selection.verb == "analyse"
    libraries = _libraries(workspace, selection)
    every_library = workspace.matrix.with_needs(libraries)
    require_directories(workspace.root, every_library)
    libraries_of = dict(_libraries_of_cells(workspace, selection, libraries, console))
    require_own_builds(workspace.root, libraries_of)
    images, left_out = {}, []
    for cell in libraries_of:
        host = host_of(cell)
        if reason := _obstacle(workspace, cell, selection.verb, host):
            left_out.append((cell, reason))
        else:
            images[cell] = job_images(cell, host, is_analysis=is_analysis)
    sources = source_identities(workspace, every_library)
    runs = tuple(_runs(workspace, images, libraries_of, sources, selection, host_of))
    return CellRuns(runs, left_out, sources)


def basis_of(
    workspace: Workspace, runs: Sequence[CellRun], machine: Resources, durations: Durations
) -> Basis:
    """Return what the jobs of runs are made from, for a machine with these resources."""
    return Basis(
        workspace.materials(_images_of(runs)),
        __version__,
        machine,
        durations,
        builders=processors(),
    )


def libraries_of(runs: Iterable[CellRun]) -> Iterator[Library]:
    """Yield the libraries of runs, and those that they need."""
    return (each.library for run in runs for each in (*run.needs, run))


def _images_of(runs: Iterable[CellRun]) -> tuple[Image, ...]:
    """Return the images of libraries in cells and of those that they need, without duplicates."""
    every = [each for run in runs for each in (*run.needs, run)]
    images = (image for run in every for image in (run.compiler, run.runtime) if image)
    return tuple(dict.fromkeys(images))


def with_unmet(plan: JobPlan, matrix: Matrix, place: Place) -> JobPlan:
    """Return a plan with the reasons for which jobs that require a machine cannot run in a
    place."""
    libraries = {library.name: library for library in matrix.variants}
    choose, reasons = cache(place.choose_gpu), {}
    for job in plan.graph.jobs.values():
        if job.requirement:
            name, cell_id, *_ = job.subject
            library, cell = libraries[name], matrix.by_id[cell_id]
            reasons[job.id] = unmet(job.requirement, library, cell, matrix, choose)
    return replace(plan, unmet={key: reason for key, reason in reasons.items() if reason})


def baselines(workspace: Workspace) -> str:
    """Return the identity of what analyses compare with."""
    from envmatrix.sessions.analysis.baselines import DIRECTORY  # only where there are analyses

    return tree_identity(workspace.root / DIRECTORY)


def _libraries(workspace: Workspace, selection: JobSelection) -> Sequence[Library]:
    """Return the selected libraries; of those to measure, the ones with a benchmark. Raise
    ConfigurationError for a named one without, and if there is none. Without names, a tier has its
    variants, and analyses have the default ones."""
    libraries = named_libraries(workspace.matrix, selection.libraries)
    if not selection.libraries:
        libraries = _unnamed(workspace.matrix, libraries, selection)
    if selection.verb == "step":
        return _with_steps(workspace.matrix, libraries, selection)
    if selection.verb != "perf":
        return libraries
    from envmatrix.sessions.benchmark import no_benchmark

    measured = [library for library in libraries if library.benchmark]
    if not measured or (selection.libraries and len(measured) < len(libraries)):
        others = (library for library in libraries if not library.benchmark)
        raise ConfigurationError(*map(no_benchmark, others))
    return measured


def _with_steps(
    matrix: Matrix, libraries: Sequence[Library], selection: JobSelection
) -> Sequence[Library]:
    """Return the libraries that have steps, or the named ones. Raise ConfigurationError if there
    are none, and for a name of no step."""
    require_steps(matrix, selection.steps)
    rows = [
        library
        for library in libraries
        if any(name in library.steps for name in selection.steps or library.steps)
    ]
    if not rows:
        names = " or ".join(f"`{name}`" for name in selection.steps)
        message = f"no selected library has a step{names and f' {names}'}"
        raise ConfigurationError(message, hint="declare it under `steps` of the library")
    return rows


def _unnamed(
    matrix: Matrix, libraries: Sequence[Library], selection: JobSelection
) -> tuple[Library, ...]:
    """Return the libraries that a selection without names has."""
    default_only = selection.verb == "analyse"
    return tuple(
        library
        for library in libraries
        if matrix.runs_in(selection.tier, library) and not (default_only and library.variant.name)
    )


def _libraries_of_cells(
    workspace: Workspace, selection: JobSelection, libraries: Sequence[Library], console: Console
) -> Iterator[tuple[Cell, Sequence[Library]]]:
    """Yield the selected cells with the libraries that are for them, and that changes affect if the
    selection asks for these; no cell without a library."""
    is_all = selection.since is None
    affected = frozenset() if is_all else _affected(workspace, selection, console)
    matrix = workspace.matrix
    for cell in workspace.cells(selection.patterns, selection.tier):
        suited = [
            listed
            for library in libraries
            if is_for(library, cell, matrix)
            and (listed := matrix.listed(library, cell, selection.tier))
            and (is_all or (library.name, cell.id) in affected)
        ]
        if suited:
            yield cell, suited


def job_images(cell: Cell, host: str | None = None, *, is_analysis: bool) -> Sequence[Image]:
    """Return the images that jobs in a cell need on a machine of the architecture `host`, by
    default this one: the one to compile in first."""
    return [analysis_image(cell)] if is_analysis else images_of(cell, host or host_arch())


def _obstacle(workspace: Workspace, cell: Cell, verb: Verb, host: str) -> str | None:
    """Return why a machine of the architecture `host` can do no jobs of a verb in a cell."""
    if verb == "analyse":
        if not workspace.matrix.has_analysis(cell):
            return "no flavour `analysis`"
        if cell.python:
            return "the flavour `analysis` has the Python of the operating system"
        return None if docker_arch(cell.arch) == host else f"not analysed on a machine of {host}"
    if verb == "perf" and not runs_natively_on(cell, host):
        from envmatrix.sessions.benchmark import FOREIGN

        return FOREIGN
    can_compile = can_compile_on(cell, host) and not lacks_cross(cell, host)
    work = f"Python {cell.python} is not compiled" if cell.python else "not cross-compiled"
    return None if can_compile else f"{work} on a machine of {host}"


def _affected(
    workspace: Workspace, selection: JobSelection, console: Console
) -> Collection[tuple[str, str]]:
    """Return the libraries and cells that changes since a revision affect."""
    from envmatrix.app.revisions import pairs_since

    pairs = pairs_since(workspace, selection.patterns, str(selection.since), console)
    return {(pair.library, pair.cell) for pair in pairs if pair.reason}


def _runs(
    workspace: Workspace,
    images: Mapping[Cell, Sequence[Image]],
    libraries_of: Mapping[Cell, Sequence[Library]],
    sources: Mapping[str, str],
    selection: JobSelection,
    host_of: HostOf,
) -> Iterator[CellRun]:
    """Yield the selected libraries of each cell, whose `images` are those to compile and to run in,
    with the identities of their `sources`."""
    matrix, tier = workspace.matrix, selection.tier or TIERS[-1]
    for cell, (compiler, *others) in images.items():
        runtime = next(iter(others), None)
        is_emulated = runtime is not None and runtime.arch != host_of(cell)
        arches = sorted({image.arch for image in images[cell]})
        machines = partial(machines_of, cell=cell, matrix=matrix, tier=tier)
        wheels_of: dict[str, tuple[str, ...]] = {}
        runs: dict[str, CellRun] = {}
        for library in matrix.with_needs(libraries_of[cell]):
            name = library.declared_name
            if name not in wheels_of:
                wheels_of[name] = tuple(_wheels(workspace, library, cell, arches))
            sdk = TARGETS[cell.arch].sdk or library.variant.sdk
            steps = steps_of(library, cell, matrix, tier) if library.steps else ()
            runs[library.name] = CellRun(
                library,
                cell,
                library_image(compiler, library, cell, matrix),
                runtime and library_image(runtime, library, cell, matrix),
                sources[name],
                wheels_of[name],
                is_emulated,
                sdk is None,
                is_compiled=matrix.compiles(library, cell, selection.tier),
                tested_on=machines(library.tested_on),
                measured_on=machines(library.measured_on),
                steps=tuple(
                    (step, machines(step.runs_on))
                    for step in steps
                    if not selection.steps or step.name in selection.steps
                ),
                needs=tuple(runs[need.name] for need in matrix.needs_of(library)),
                is_installed=name in matrix.installed,
            )
        yield from (runs[library.name] for library in libraries_of[cell])


def source_identities(workspace: Workspace, libraries: Iterable[Library]) -> Mapping[str, str]:
    """Return a hash of the source of each declared library, of the lock or the tree in the
    repository, and of what its build would download."""
    declared = {library.declared_name: library for library in libraries}
    own = [library for library in declared.values() if library.source is None]
    directories = {library.declared_name: workspace.root / library.path for library in own}
    trees = tree_identities(directories.values(), workspace.root / BUILD_ROOT)
    sets, identities = workspace.lock.sets, {}
    for name, library in declared.items():
        is_own = library.source is None
        source = trees[directories[name]] if is_own else _identity(sets[source_set(library)])
        archives = [
            f"{archive} {_identity(sets[archive_set(library, archive)])}"
            for archive in sorted(library.archives)
        ]
        identities[name] = content_hash(source, *archives) if archives else source
    return identities


def _identity(locked: PackageSet) -> str:
    versions = (f"{name} {version}" for name, version in sorted(locked.versions.items()))
    return content_hash(*versions, *(artifact.sha256 for artifact in locked.artifacts))


def _wheels(
    workspace: Workspace, library: Library, cell: Cell, arches: Sequence[str]
) -> Iterator[str]:
    """Yield the sha256 (hex) of each wheel that a library is built and tested with."""
    for arch in arches if library.requires else ():
        locked = workspace.lock.sets[wheels_set(library, cell, arch)]
        yield from (artifact.sha256 for artifact in locked.artifacts)


def recorded_durations(workspace: Workspace, console: Console) -> Durations:
    """Return the seconds of the newest job of each kind of each library in each cell."""
    location = workspace.location
    if location.is_empty:
        return {}
    try:
        return _stored_durations(location, console)
    except EnvmatrixError as error:  # what is not known is guessed
        console.warn(f"{error.message}; expected durations are guesses")
        return {}


def _stored_durations(location: Location, console: Console) -> Durations:
    from envmatrix.results import queries  # SQLAlchemy
    from envmatrix.sessions.outcomes import Step

    with location.open_store(console.warn) as database, database.reading() as connection:
        runs = sorted((each.run for each in queries.latest(connection)), key=attrgetter("started"))
        steps = queries.stored_parts(connection, Step, [run.id for run in runs])
    seconds: dict[tuple[Kind, str, str], float] = {}
    for run in runs:  # the newest last
        totals: defaultdict[Kind, float] = defaultdict(float)
        for step in steps.get(run.id, ()):
            totals[kind_of(run.verb, step.name)] += step.seconds
        for kind, total in totals.items():
            seconds[key_of_run(kind, run)] = total
    return seconds


def key_of_run(kind: Kind, run: Run) -> tuple[Kind, str, str]:
    """Return the key of what a run says of a kind of jobs: all parts of the work of a library in a
    cell share a compilation."""
    return duration_key(kind, run.library, run.cell, run.part)


def duration_key(kind: Kind, library: str, cell: str, part: str) -> tuple[Kind, str, str]:
    """Return the key of the seconds of a kind of jobs of a part of the work."""
    return kind, library, cell if kind == "compile" else f"{cell} {part}".rstrip()


def kind_of(verb: str, step: str) -> Kind:
    """Return the kind of the job that a step of a run is part of."""
    kind = _KINDS.get(verb, "test")
    return "compile" if step in _COMPILING and kind != "analyse" else kind
