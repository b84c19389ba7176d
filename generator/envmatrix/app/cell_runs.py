"""A cell with the libraries to work on: its images, their sources, and recorded runs."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.app.images import BUILDS_AT_ONCE, plan_actions, provide
from envmatrix.app.libraries import libraries_of
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import docker_client
from envmatrix.engine.containers import Containers, sweep
from envmatrix.engine.tasks import Executor, Gpus
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.images.model import CompilerCache, Image, analysis_image, images_of, lacks_cross
from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.machine.configuration import configured_trust, user_configuration
from envmatrix.machine.host import available_memory, host_arch, processors
from envmatrix.machine.trust import VARIABLE, TrustGroup, group_of
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.selection import find_cell
from envmatrix.results.location import Location
from envmatrix.results.recorder import Recorder, record_run
from envmatrix.results.records import Revision, Run
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.context import BuildContext, jobs_for
from envmatrix.sessions.runner import Runner, clear_privileges
from envmatrix.vcs import git

if TYPE_CHECKING:
    from envmatrix.results.waivers import Waiver

# Memory that is left to the rest of the machine, in bytes.
_SPARED_MEMORY = 512 << 20


@dataclass(frozen=True, slots=True)
class CellOptions:
    """The options of a verb that works in a cell; `memory` is a container's limit, in MB."""

    name: str
    library: str | None
    emulate: bool
    jobs: int | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """The part of the tests to run, as records have it; all tests by default."""

    shard: str = ""
    extent: str = ""


WHOLE = Part()


@dataclass(frozen=True)
class CellSession:
    """A cell of which all required images exist."""

    workspace: Workspace
    cell: Cell
    libraries: tuple[Library, ...]
    compiler: Image
    runtime: Image | None
    names: Mapping[Image, str]
    cell_options: CellOptions
    console: Console

    @classmethod
    def for_analysis(cls, cell_options: CellOptions, console: Console) -> CellSession:
        """Return the cell with its analysis image, which has the cell's own architecture."""
        workspace = Workspace.here()
        cell = find_cell(workspace.matrix, cell_options.name)
        if not workspace.matrix.has_analysis(cell):
            hint = "describe it in `envs/analysis.yaml`; docs/analysis.md has one"
            raise ConfigurationError(Problem("there is no flavour `analysis`", hint=hint))
        if docker_arch(cell.arch) != host_arch():
            raise EnvmatrixError(
                f"`{cell.id}` can be examined only on a machine of its own architecture",
                hint="examine a cell of this machine's: most findings are the same",
            )
        libraries = libraries_of(workspace, cell_options.library, cell)
        image = analysis_image(cell)
        names = _provide_images(workspace, [image], console)
        return cls(workspace, cell, libraries, image, image, names, cell_options, console)

    @classmethod
    def of(
        cls, cell_options: CellOptions, console: Console, *, only_compiler: bool = False
    ) -> CellSession:
        """Return the cell with its images; without the runtime image if `only_compiler`."""
        workspace = Workspace.here()
        cell = find_cell(workspace.matrix, cell_options.name)
        machine = host_arch()
        if lacks_cross(cell, machine) and not cell_options.emulate:
            raise EnvmatrixError(
                f"`{cell.id}` has no flavour `cross`: its CUDA is in an image of its own "
                "architecture, or its system has no cross compiler",
                hint="compile it under emulation: `--emulate`",
            )
        libraries = libraries_of(workspace, cell_options.library, cell)
        compiler, *others = images_of(cell, machine, emulate=cell_options.emulate)
        required = [compiler, *([] if only_compiler else others)]
        names = _provide_images(workspace, required, console)
        runtime = next(iter(others), None)
        return cls(workspace, cell, libraries, compiler, runtime, names, cell_options, console)

    @cached_property
    def location(self) -> Location:
        return Location.of(self.workspace.root)

    @cached_property
    def waivers(self) -> tuple[Waiver, ...]:
        from envmatrix.results.waivers import load_waivers

        return load_waivers(self.workspace.root)

    def durations(self, library: Library) -> Mapping[str, float]:
        """Return the durations of a library's tests, in seconds, from runs before the revision was
        committed: so shards that run one after the other use the same."""
        from envmatrix.results import queries  # SQLAlchemy

        checkout = git.checkout_of(self.workspace.root)
        before = self._revision(library).committed or (checkout.committed if checkout else 0.0)
        with (
            self.location.open_store(self.console.warn) as database,
            database.reading() as connection,
        ):
            return queries.durations(connection, library.name, self.cell.id, before)

    def context(self, library: Library) -> BuildContext:
        memory, build = self._memory(), library.build
        return BuildContext(
            cell=self.cell,
            library=library.with_sm(self.cell.toolchain.sm),
            system=BUILD_SYSTEMS[build.system],
            root=self.workspace.root,
            source=self._source(library),
            caches=self._trust.register(cache_directory(), self.workspace.root, library.trust),
            compiler=self.compiler,
            runtime=self.runtime,
            names=self.names,
            host_arch=host_arch(),
            cache=self._cache,
            requires=self._requires(library),
            sdk=self._sdk(),
            borrowed=self.workspace.matrix.borrowed_components(self.cell, library),
            jobs=jobs_for(processors(), memory, build.job_memory, self.cell_options.jobs),
            memory=memory,
        )

    @cached_property
    def _trust(self) -> TrustGroup:
        """The group within which the libraries share compiled objects."""
        declared = configured_trust(user_configuration())
        return group_of(self.workspace.root, declared, os.environ.get(VARIABLE))

    @cached_property
    def _cache(self) -> CompilerCache | None:
        """The compiler cache of the images; warn once if CUDA is compiled without it."""
        cell = self.cell
        cache = self.workspace.compiler_cache(cell, self.compiler)
        if cache and "CUDA" not in cache.languages and TARGETS[cell.arch].cuda:
            message = f"{cache.name} of `{cell.id}` cannot reproduce the objects of nvcc"
            self.console.warn(f"{message}: CUDA is compiled without it; use ccache")
        return cache

    def _sdk(self) -> Path | None:
        """Return the directory of the licensed SDK that the cell's target needs, if any."""
        name = TARGETS[self.cell.arch].sdk
        if name is None:
            return None
        from envmatrix.machine.origins import Origins

        return Origins().sdk(name)

    def _source(self, library: Library) -> Path:
        if library.source is None:
            return self.workspace.root / library.path
        from envmatrix.app import library_sources

        return library_sources.source_directory(self.workspace, library, self.console)

    def _requires(self, library: Library) -> Mapping[str, Path]:
        """Return the wheels of a library by the architecture of the images that need them."""
        if not library.requires:
            return {}
        from envmatrix.app import library_sources

        arches = {image.arch for image in (self.compiler, self.runtime) if image}
        system = self.cell.os
        return library_sources.wheels(self.workspace, library, system, arches, self.console)

    @contextmanager
    def record(self, library: Library, verb: str, part: Part) -> Iterator[tuple[Runner, Recorder]]:
        """Open the runner of the work on a library, and its recorder."""
        image, revision = self.names[self.compiler], self._revision(library)
        context = self.context(library)
        with docker_client.connect() as client, lock_build(context, verb, self.console):
            sweep(client)
            run = Run(
                id=str(uuid.uuid4()),
                library=library.name,
                cell=self.cell.id,
                verb=verb,
                started=time.time(),
                revision=revision,
                image=image,
                digest=str(client.images.get(image).id),
                host=platform.node(),
                shard=part.shard,
                extent=part.extent,
            )
            with record_run(self.location, run) as recorder:
                runner = self._runner(Containers(client), context, recorder)
                clear_privileges(context, (), self.console)  # of a run that was killed
                try:
                    yield runner, recorder
                finally:
                    clear_privileges(context, runner.written, self.console)

    def _runner(self, executor: Executor, context: BuildContext, recorder: Recorder) -> Runner:
        return Runner(
            executor,
            context,
            self.console,
            on_step=recorder.add_step,
            component_of=self._missing_component,
            absent_submodules=lambda: _missing_submodules(context.library, self.workspace.root),
        )

    def _memory(self) -> int | None:
        """Return the memory limit of a container, in bytes: the option, or what is available."""
        if self.cell_options.memory:
            return self.cell_options.memory * 10**6
        available = available_memory()
        return max(available - _SPARED_MEMORY, _SPARED_MEMORY) if available else None

    def _missing_component(self, file: str) -> str | None:
        """Return the component that has a file, if the cell's images do not have it."""
        from envmatrix.lock.cuda_in_image import component_of

        component = component_of(file)
        matrix, cell = self.workspace.matrix, self.cell
        present = matrix.components_of(cell, "devel")
        if component is None or component in present or component not in matrix.facts.listable:
            return None
        return component if _can_have(component, cell, matrix.facts) else None

    def _revision(self, library: Library) -> Revision:
        if library.source is None:
            checkout = git.checkout_of(self.workspace.root / library.path)
            if checkout is None:
                return Revision("")
            return Revision(checkout.commit, checkout.branch, checkout.committed)
        from envmatrix.app import library_sources

        return library_sources.revision(self.workspace, library)

    def keep_results(self) -> None:
        """Move recorded runs into the store; if that fails, they stay in the journal."""
        try:
            self.location.keep(self.console.warn)
        except EnvmatrixError as error:
            self.console.warn(f"{error.message}; {error.hint}" if error.hint else error.message)


def _can_have(component: str, cell: Cell, facts: Facts) -> bool:
    """Return True if the source of the cell's CUDA has a component and all its dependencies."""
    release = facts.release(cell.cuda)
    if release is None:
        return False
    source = cell.toolchain.cuda.source
    components = facts.with_needs([component], release.release)
    return not any(facts.absence(name, source, release.release) for name in components)


def _missing_submodules(library: Library, root: Path) -> Sequence[str]:
    """Return the submodules in the tree of a library that are not checked out, by their path in
    it; none of a locked source, which has all of its submodules."""
    if library.source is not None:
        return ()
    return git.absent_submodules(root, root / library.path)


def _provide_images(
    workspace: Workspace, required: Sequence[Image], console: Console
) -> Mapping[Image, str]:
    """Pull or build images; return the engine's name of each."""
    docker_client.import_in_background()
    actions = plan_actions(workspace, required, console)
    provide(workspace, actions, BUILDS_AT_ONCE, console)
    return {action.image: action.inputs.reference for action in actions}


@contextmanager
def lock_build(context: BuildContext, verb: str, console: Console) -> Iterator[None]:
    """Lock a library in a cell against other processes; wait for one that works on it."""
    file = context.directory / ".lock"

    def report_wait() -> None:
        owner = file.read_text("utf-8", "replace").strip() or "another process"
        console.say(f"wait     for {owner}, which works on `{context.library.name}` in this cell")

    with exclusive(file, report_wait):
        file.write_text(f"`envmatrix run {verb}`, process {os.getpid()}\n", encoding="utf-8")
        yield


def gpus_of(context: BuildContext) -> Gpus | None:
    """Return the GPUs for tests, if the machine has any and the tests run natively."""
    from envmatrix.engine import gpu

    if context.is_emulated:
        return None
    with docker_client.connect() as client:
        gpus = gpu.choose(gpu.probe_gpu(client))
    return None if isinstance(gpus, gpu.NoGpu) else gpus
