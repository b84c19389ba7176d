"""The jobs of libraries in selected cells, as this machine would do them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from envmatrix import __version__
from envmatrix.app.cell_session import named_libraries, require_directories
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import EnvmatrixError
from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.images.contents import content_hash
from envmatrix.images.model import Image, analysis_image, can_compile_on, images_of, lacks_cross
from envmatrix.jobs.expansion import Basis, CellRun, Durations, JobPlan, analysis_graph, job_graph
from envmatrix.jobs.model import Kind, Resources
from envmatrix.lock.model import source_set, wheels_set
from envmatrix.machine.resources import (
    DOWNLOADS,
    available_memory,
    gpus,
    host_arch,
    processors,
)
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.selection import is_for
from envmatrix.results.location import Location
from envmatrix.sessions.analysis.baselines import DIRECTORY as BASELINES
from envmatrix.sessions.context import BUILD_ROOT
from envmatrix.vcs.tree_identity import tree_identity

# Steps of a run that compile; the others test.
_COMPILING = ("configure", "compile")


@dataclass(frozen=True, slots=True)
class JobSelection:
    """The jobs to plan: those that compile and test libraries, or that analyse them, in cells by
    patterns and tier; one `library` alone; those that changes `since` a revision affect; in how
    many `shards`."""

    patterns: Sequence[str] = ()
    tier: str | None = None
    library: str | None = None
    since: str | None = None
    shards: int = 1
    is_analysis: bool = False


def plan_jobs(workspace: Workspace, selection: JobSelection, console: Console) -> JobPlan:
    """Return the jobs of the selected libraries in the selected cells."""
    images, left_out = {}, []
    for cell in workspace.cells(selection.patterns, selection.tier):
        if reason := _obstacle(workspace, cell, selection):
            left_out.append((cell, reason))
        else:
            images[cell] = job_images(cell, is_analysis=selection.is_analysis)
    libraries = named_libraries(workspace.matrix, selection.library)
    require_directories(workspace.root, libraries)
    every = tuple(dict.fromkeys(image for pair in images.values() for image in pair))
    machine = Resources(processors(), available_memory() or 0, _usable_gpus(), DOWNLOADS)
    basis = Basis(
        workspace.materials(every),
        __version__,
        machine,
        _durations(workspace, console),
        selection.shards,
        tree_identity(workspace.root / BASELINES) if selection.is_analysis else "",
    )
    sources = {library.name: source_identity(workspace, library) for library in libraries}
    runs = _runs(workspace, images, libraries, sources)
    if selection.since is not None:
        affected = _affected(workspace, selection, console)
        runs = (run for run in runs if (run.library.name, run.cell.id) in affected)
    graph = (analysis_graph if selection.is_analysis else job_graph)(runs, basis)
    return JobPlan(graph, machine, left_out, sources)


def job_images(cell: Cell, *, is_analysis: bool) -> Sequence[Image]:
    """Return the images that jobs in a cell need on this machine: the one to compile in first."""
    return [analysis_image(cell)] if is_analysis else images_of(cell, host_arch())


def _obstacle(workspace: Workspace, cell: Cell, selection: JobSelection) -> str | None:
    """Return why this machine can do no jobs in a cell."""
    host = host_arch()
    if not selection.is_analysis:
        can_compile = can_compile_on(cell, host) and not lacks_cross(cell, host)
        return None if can_compile else f"not cross-compiled on a machine of {host}"
    if not workspace.matrix.has_analysis(cell):
        return "no flavour `analysis`"
    return None if docker_arch(cell.arch) == host else f"not analysed on a machine of {host}"


def _usable_gpus() -> int:
    """Return the number of GPUs that containers can have; the engine is asked if there are any."""
    count = gpus()
    if not count:
        return 0
    from envmatrix.app.places import THIS_MACHINE
    from envmatrix.engine.gpu import NoGpu

    return 0 if isinstance(THIS_MACHINE.choose_gpu(), NoGpu) else count


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
    libraries: Sequence[Library],
    sources: Mapping[str, str],
) -> Iterator[CellRun]:
    """Yield the libraries of each cell, whose `images` are those to compile and to run in, with
    the identities of their `sources`."""
    host = host_arch()
    for cell, (compiler, *others) in images.items():
        runtime = next(iter(others), None)
        is_emulated = runtime is not None and runtime.arch != host
        arches = sorted({image.arch for image in images[cell]})
        for library in libraries:
            if is_for(library, cell, workspace.matrix):
                wheels = tuple(_wheels(workspace, library, cell, arches))
                source, is_complete = sources[library.name], TARGETS[cell.arch].sdk is None
                yield CellRun(
                    library, cell, compiler, runtime, source, wheels, is_emulated, is_complete
                )


def source_identity(workspace: Workspace, library: Library) -> str:
    """Return a hash of a library's source: of the lock's, or of the tree in the repository."""
    if library.source is None:
        return tree_identity(workspace.root / library.path, workspace.root / BUILD_ROOT)
    locked = workspace.lock.sets[source_set(library)]
    versions = (f"{name} {version}" for name, version in sorted(locked.versions.items()))
    return content_hash(*versions, *(artifact.sha256 for artifact in locked.artifacts))


def _wheels(
    workspace: Workspace, library: Library, cell: Cell, arches: Sequence[str]
) -> Iterator[str]:
    """Yield the sha256 (hex) of each wheel that a library is built and tested with."""
    for arch in arches if library.requires else ():
        locked = workspace.lock.sets[wheels_set(library, cell.os, arch)]
        yield from (artifact.sha256 for artifact in locked.artifacts)


def _durations(workspace: Workspace, console: Console) -> Durations:
    """Return the seconds of the newest compilation and tests of each library in each cell."""
    location = Location.of(workspace.root)
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
            totals["compile" if step.name in _COMPILING else "test"] += step.seconds
        seconds |= {(kind, run.library, run.cell): total for kind, total in totals.items()}
    return seconds
