"""Runs of libraries in a cell, one after the other: prepared, locked, and recorded."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from envmatrix.app.cell_session import CellSession, compiler_cache_of
from envmatrix.app.compilation import compile_recorded, source_state
from envmatrix.app.places import Place
from envmatrix.app.requirements import unmet
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus
from envmatrix.errors import SKIPPED, ConfigurationError, EnvmatrixError
from envmatrix.facts.targets import TARGETS
from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.machine.configuration import configured_sdk, user_configuration
from envmatrix.machine.resources import available_memory, host_arch, processors
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.pythons import python_of
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.selection import machines_of
from envmatrix.matrix.tier_names import TIERS
from envmatrix.records import dataclass
from envmatrix.results.passed_jobs import PassedJobs
from envmatrix.results.recorder import Recorder, record_run
from envmatrix.results.records import Revision, Run
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.compilation import is_installed
from envmatrix.sessions.context import (
    BuildContext,
    build_name,
    build_parent,
    jobs_for,
    prefix_directory,
)
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.runner import Runner, clear_privileges
from envmatrix.vcs import git

T = TypeVar("T")

# Memory that is left to the rest of the machine, in bytes.
_SPARED_MEMORY = 512 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a library's work to do, as records have it: all tests by default, on any
    machine."""

    shard: str = ""
    extent: str = ""
    step: str = ""
    requirement: Requirement | None = None

    @property
    def words(self) -> str:
        """Words that tell it from others of a verb in the records of a library in a cell."""
        machine = self.requirement.place if self.requirement else ""
        return " ".join(filter(None, (self.step, machine)))


WHOLE = Part()


def run_each_library(
    session: CellSession,
    verb: str,
    work: Callable[[Runner, Recorder], Iterable[T]],
    show: Callable[[T], None],
    parts_of: Callable[[Library], Sequence[Part]] = lambda _library: (WHOLE,),
) -> int:
    """Do and record `work` for every part of every library, even if one fails, and show each of its
    results when it is there; return the exit code. Of several parts each failure is shown; that of
    a single one is raised."""
    failures: list[EnvmatrixError] = []
    skipped: list[Skipped] = []
    needs = Needs(session)
    libraries = needs.ordered(session.libraries)
    parts = [(library, part) for library in libraries for part in parts_of(library)]
    for library, part in parts:
        try:
            needs.install_for(library)
            with (
                locked_build(session, library, verb) as context,
                recorded_run(session, context, verb, part) as (runner, recorder),
            ):
                for result in work(runner, recorder):
                    show(result)
        except Skipped as error:
            skipped.append(error)
        except EnvmatrixError as error:
            failures.append(error)
            if len(parts) > 1:
                session.console.error(error)
    keep_results(session.workspace, session.console)
    if failures and len(parts) == 1:
        raise failures[0]
    if failures:
        return failures[0].exit_code
    if len(skipped) == len(parts):
        return skip("; ".join(error.message for error in skipped))
    for reason in skipped:
        session.console.say(f"skipped: {reason.message}")
    return 0


@dataclass(frozen=True, slots=True)
class Needs:
    """What the libraries of a session need; `failed` are those of it that cannot be installed."""

    session: CellSession
    failed: set[str] = field(default_factory=set)

    def ordered(self, libraries: Sequence[Library]) -> Sequence[Library]:
        """Return libraries, each after those of them that it needs."""
        names = {library.name for library in libraries}
        every = self.session.workspace.matrix.with_needs(libraries)
        return [library for library in every if library.name in names]

    def install_for(self, library: Library) -> None:
        """Compile and install what a library needs, as far as it is not installed as it would
        be."""
        for need in self.session.workspace.matrix.needs_of(library):
            if need.name in self.failed:
                message = f"`{library.name}` is left out: `{need.name}`, which it needs, failed"
                raise EnvmatrixError(message)
            try:
                self._install(need)
            except EnvmatrixError:
                self.failed.add(need.name)
                raise

    def _install(self, need: Library) -> None:
        with locked_build(self.session, need, "compile") as context:
            state = source_state(context)
            if is_installed(context, state):
                return
            with recorded_run(self.session, context, "compile") as (runner, recorder):
                for _ in compile_recorded(runner, recorder, state):
                    pass


def skip(reason: str) -> int:
    """Say why nothing could run, also with --quiet; return the exit code of that."""
    Console().say(f"skipped: {reason}")
    return SKIPPED


@contextmanager
def locked_build(session: CellSession, library: Library, verb: str) -> Iterator[BuildContext]:
    """Yield the inputs of the build of a library, whose directory is locked."""
    context = build_context(session, library)
    with lock_build(context.directory, verb, session.console):
        yield context


@contextmanager
def recorded_run(
    session: CellSession,
    context: BuildContext,
    verb: str,
    part: Part = WHOLE,
    job: str | None = None,
) -> Iterator[tuple[Runner, Recorder]]:
    """Open the runner of the work on a library, and its recorder. Runs with one `job` have the same
    tasks, so that the next one adopts those of a process that was killed."""
    image, root, library = context.names[context.compiler], context.root, context.library
    run = Run(
        id=str(uuid.uuid4()),
        library=library.name,
        cell=session.cell.id,
        verb=verb,
        started=time.time(),
        revision=revision_of(session.workspace, library),
        image=image,
        digest=session.place.digest(image),
        host=platform.node(),
        shard=part.shard,
        extent=part.extent,
        part=part.words,
    )
    absent = partial(git.absent_submodules, root, root / library.path)
    # The gateway ends with this process.
    cache = None if session.place.keeps_tasks else session.workspace.shared_cache
    gateway = cache.answering(context, session.console) if cache else nullcontext(False)
    location = session.workspace.location
    PassedJobs(location).start(run)
    with (
        session.place.open_executor() as executor,
        gateway as shares_cache,
        record_run(location, run) as recorder,
    ):
        runner = Runner(
            executor,
            replace(context, shares_cache=shares_cache, requirement=part.requirement),
            session.console,
            on_step=recorder.journal.write,
            component_of=partial(_missing_component, session.workspace.matrix, session.cell),
            package_of=_package_of(library, session.workspace.matrix, session.cell),
            absent_submodules=tuple if library.source else absent,  # a locked one has all
            job=job or run.id,
            retries=session.place.retries_tasks,
        )
        clear_privileges(context, (), session.console)  # of a run that was killed
        try:
            yield runner, recorder
        finally:
            clear_privileges(context, runner.written, session.console)


def build_context(session: CellSession, library: Library) -> BuildContext:
    """Fetch the source and the wheels of a library; return the inputs of its build."""
    root, cell, matrix = session.workspace.root, session.cell, session.workspace.matrix
    source: Path = root / library.path
    requires: Mapping[str, Path] = {}
    archives: Mapping[str, Path] = {}
    if library.source is not None or library.requires or library.archives:
        from envmatrix.app import library_sources

        arches = {image.arch for image in (session.compiler, session.runtime) if image}
        source, requires = library_sources.fetch(
            session.workspace, library, cell, arches, session.console
        )
        archives = library_sources.fetch_archives(session.workspace, library, session.console)
    compiler = session.image_for(session.compiler, library)
    runtime = session.runtime and session.image_for(session.runtime, library)
    cache = session.cache
    if cache and compiler.library:  # its packages may have other compilers
        cache = compiler_cache_of(session.workspace, cell, compiler, session.console)
    memory, system = _memory_limit(session.memory), BUILD_SYSTEMS[library.build.system]
    return BuildContext(
        cell=cell,
        library=system.configured(library, library.sm_in(cell)),
        system=system,
        root=root,
        source=source,
        caches=session.workspace.trust.register(cache_directory(), root, library.trust),
        compiler=compiler,
        runtime=runtime,
        names=session.names,
        host_arch=host_arch(),
        cache=cache,
        requires=requires,
        prefixes=_prefixes(session, library),
        is_installed=library.declared_name in matrix.installed,
        python=python_of(cell, matrix.facts),
        archives=archives,
        sdk=_sdk(session, library),
        borrowed=session.workspace.matrix.borrowed_components(cell, library),
        glibc=session.workspace.matrix.facts.os[cell.os].glibc,
        jobs=jobs_for(processors(), memory, library.build.job_memory, session.jobs),
        memory=memory,
        processors=session.processors,
    )


def _prefixes(session: CellSession, library: Library) -> Mapping[str, Path]:
    """Return the directories in which what a library needs is installed."""
    root, cell = session.workspace.root, session.cell.id
    name = build_name(session.compiler, host_arch())
    prefixes = {
        need.declared_name: prefix_directory(build_parent(root, cell, need.name), name)
        for need in session.workspace.matrix.needs_of(library)
    }
    for need, directory in prefixes.items():
        if not directory.is_dir():
            message = f"`{need}`, which `{library.name}` needs, is not installed for `{cell}`"
            raise EnvmatrixError(message, hint=f"envmatrix run compile {cell} --library {need}")
    return prefixes


@contextmanager
def lock_build(directory: Path, verb: str, console: Console) -> Iterator[None]:
    """Lock the directory of a library in a cell against other processes; wait for one that works
    on it."""
    file = directory / ".lock"

    def report_wait() -> None:
        owner = file.read_text("utf-8", "replace").strip() or "another process"
        console.say(f"wait     for {owner}, which works on `{directory.name}` in this cell")

    with exclusive(file, report_wait):
        file.write_text(f"`envmatrix run {verb}`, process {os.getpid()}\n", encoding="utf-8")
        yield


def revision_of(workspace: Workspace, library: Library) -> Revision:
    """Return the revision of a library's source."""
    if library.source is not None:
        from envmatrix.app import library_sources

        return library_sources.revision(workspace.lock, library)
    checkout = git.checkout_of(workspace.root / library.path)
    if checkout is None:
        return Revision("")
    return Revision(checkout.commit, checkout.branch, checkout.committed)


def gpus_of(place: Place, context: BuildContext) -> Gpus | None:
    """Return the GPUs for tests, those that are required or all, if there are any in a place and
    the tests run natively. Raise Skipped where they are required, and there are none."""
    if context.requirement and not context.requirement.gpus:
        return None
    gpus = None if context.is_emulated else place.choose_gpu(context.requirement)
    if context.requirement and not isinstance(gpus, Gpus):
        raise Skipped(gpus.reason if gpus else f"needs {context.requirement}: it is emulated here")
    return gpus if isinstance(gpus, Gpus) else None


def require_machine(session: CellSession, context: BuildContext) -> None:
    """Raise Skipped if this place, or every machine, lacks what is required in a cell."""
    requirement, matrix = context.requirement, session.workspace.matrix
    if requirement is None:
        return
    choose = session.place.choose_gpu
    if reason := unmet(requirement, context.library, context.cell, matrix, choose):
        raise Skipped(reason)


def parts_on(
    session: CellSession, requirements: Sequence[Requirement | None], part: Part = WHOLE
) -> Sequence[Part]:
    """Return a part of a library's work for each machine that it requires in a cell; for any where
    there is none."""
    matrix = session.workspace.matrix
    machines = machines_of(requirements, session.cell, matrix, TIERS[-1])
    return [replace(part, requirement=row) for row in machines or (None,)]


def _sdk(session: CellSession, library: Library) -> Path | None:
    """Return the directory of the licensed SDK that compiles a library, if one does."""
    if library.variant.sdk and session.compiler.is_cross:
        message = f"the SDK `{library.variant.sdk}` compiles on a machine of its target only"
        hint = f"use one of {session.cell.arch}, or `--emulate`"
        raise ConfigurationError(message, hint=hint)
    name = TARGETS[session.cell.arch].sdk or library.variant.sdk
    return None if name is None else configured_sdk(user_configuration(), name)


def _memory_limit(megabytes: int | None) -> int | None:
    """Return the memory limit of a container, in bytes: as given, or what is available."""
    if megabytes:
        return megabytes * 10**6
    available = available_memory()
    return max(available - _SPARED_MEMORY, _SPARED_MEMORY) if available else None


def _missing_component(matrix: Matrix, cell: Cell, file: str) -> str | None:
    """Return the component that has a file, if the cell's images do not have it, and the source of
    the cell's CUDA has it with all its dependencies."""
    from envmatrix.lock.cuda_in_image import component_of

    component, facts = component_of(file), matrix.facts
    release = facts.release(cell.cuda)
    if component is None or release is None or component not in facts.listable:
        return None
    if component in matrix.components_of(cell, "devel"):
        return None
    source = cell.toolchain.cuda.source
    required = facts.with_needs([component], release.release)
    is_absent = any(facts.absence(name, source, release.release) for name in required)
    return None if is_absent else component


def _package_of(library: Library, matrix: Matrix, cell: Cell) -> Callable[[str], str | None] | None:
    """Return a function that returns the package with what `find_package` looks for, unless the
    library has it; None for operating systems whose packages cannot be suggested."""
    os = matrix.facts.os[cell.os]
    if os.family.name != "deb":
        return None
    declared = library.packages.packages_of(os)

    def package_of(name: str) -> str | None:
        from envmatrix.facts.find_modules import find_modules  # only after a failure

        row = find_modules().get(name)
        return row.package if row and row.package not in declared else None

    return package_of


def keep_results(workspace: Workspace, console: Console) -> None:
    """Move recorded runs into the store; if that fails, they stay in the journal."""
    try:
        workspace.location.keep(console.warn)
    except EnvmatrixError as error:
        console.warn(f"{error.message}; {error.hint}" if error.hint else error.message)
