"""Containers of the steps of a session. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.confined import Area
from envmatrix.engine.containers import ContainerSpec, Limits, Mount
from envmatrix.facts.targets import TARGETS, Target
from envmatrix.facts.versions import version_key
from envmatrix.images.model import CompilerCache, Image
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library

if TYPE_CHECKING:
    from docker.types import DeviceRequest

SOURCE = "/src"
BUILD = "/build"
CCACHE = "/ccache"
# Programs of ours that run in containers: what calls compilers through the cache.
PROGRAMS = "/opt/envmatrix"
_LAUNCHER = f"{PROGRAMS}/compile-cached"
# Where wheels are that a library is built or tested with, and where its own copy of its source is,
# if its build system writes among the sources.
REQUIRES = "/requires"
COPY = "source"

# Hits and misses of the compiler cache by compilation, written by the launcher.
COMPILATIONS = "compilations.log"

# The first release whose reference has `--objdir-as-tempdir`.
_WITH_OBJECT_DIRECTORY = (11, 2)

_NINJA = re.compile(r"\[(\d+)/(\d+)\]")


@dataclass(frozen=True, slots=True)
class Variant:
    """Alternative build of a library: under its `name`, with these variables."""

    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


PLAIN = Variant()


@dataclass(frozen=True, slots=True)
class BuildContext:
    """Location of a library in a cell on this machine, and the images that it is built and run in;
    `names` are their names in the engine. `source` is its tree, `requires` the directories of
    wheels by Docker's name of the architecture. `cache` is the compiler cache that images have, if
    any, and `caches` the directory of the caches of the library's trust group; `sdk` the directory
    of the licensed SDK that its target needs, if it needs one."""

    cell: Cell
    library: Library
    root: Path
    source: Path
    caches: Path
    compiler: Image
    runtime: Image | None
    names: Mapping[Image, str]
    host_arch: str
    cache: CompilerCache | None = None
    requires: Mapping[str, Path] = field(default_factory=dict)
    sdk: Path | None = None
    variant: Variant = PLAIN

    @property
    def target(self) -> Target:
        return TARGETS[self.cell.arch]

    @property
    def directory(self) -> Path:
        return self.root / "build" / self.cell.id / self.library.name

    @property
    def build(self) -> Area:
        """The build directory, one for each way to compile."""
        native = self.compiler.arch == self.host_arch
        name = self.compiler.flavour if native else "emulated"
        return Area(self.directory / "-".join(filter(None, (name, self.variant.name))))

    @property
    def compiler_cache(self) -> Area | None:
        """The directory of the compiler cache, which other libraries write to as well."""
        return Area(self.caches / self.cache.name) if self.cache else None

    @property
    def shared_memory(self) -> int | None:
        """Shared memory of the library's processes, in bytes, where it configures it."""
        return self.library.shm * 10**6 if self.library.shm else None

    @property
    def shell(self) -> str:
        """The command that opens a shell in the container that compiles."""
        emulate = "" if self.compiler.arch == self.host_arch else " --emulate"
        return f"envmatrix run shell {self.cell.id} --library {self.library.name}{emulate}"

    @property
    def made_of(self) -> str:
        """Inputs of the build directory, except files of the repository itself. Build systems
        compare times, which do not show that a compiler or source was exchanged."""
        library = self.library
        source = self.source.name if library.source else ""
        requires = [f"{arch} {path.name}" for arch, path in sorted(self.requires.items())]
        sm = self.cell.toolchain.sm
        launcher = self.cache and _LAUNCHER  # CMake keeps it
        inputs = (source, *requires, library.build, sm, self.variant, launcher)
        lines = (self.names[self.compiler], *inputs)
        return "".join(f"{line}\n" for line in lines)

    @property
    def is_emulated(self) -> bool:
        """True if compiled programs run here under emulation only, if at all."""
        native = self.runtime is not None and self.runtime.arch == self.host_arch
        return not native or self.target.emulator is not None

    @property
    def copies(self) -> bool:
        """True if the library is built in a copy of its source, which its build writes into."""
        return self.library.build.system in ("make", "python", "script")

    @property
    def path(self) -> str:
        """Path of the library in its source."""
        return self.library.path if self.library.source else "."

    @property
    def tree(self) -> str:
        """Directory of the library, or of its copy, in its containers."""
        return posixpath.normpath(f"{f'{BUILD}/{COPY}' if self.copies else SOURCE}/{self.path}")

    def beside(self, kind: str) -> Path:
        """Return a file about the build directory that containers cannot reach."""
        return self.build.surroundings / f"{self.build.name}.{kind}"

    def log(self, step: str) -> Path:
        return self._named(f"{step}.log")

    @property
    def junit(self) -> Path:
        """The JUnit file of test results."""
        return self._named("junit.xml")

    def _named(self, name: str) -> Path:
        """Return a file beside the build directory; a variant has files of its own."""
        return self.directory / "-".join(filter(None, (self.variant.name, name)))


def jobs_for(processors: int, memory: int | None, job_memory: int, requested: int | None) -> int:
    """Return the number of parallel compilations: as requested, but no more than fit in memory, in
    bytes, at `job_memory` MB each; at least one."""
    most = requested or processors
    room = most if memory is None else memory // (job_memory * 10**6)
    return max(1, min(most, room))


def ninja_progress(line: str) -> tuple[int, int]:
    """Parse the completed and total steps of ninja's output: `[3/20] ...`."""
    match = _NINJA.match(line)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def measure(
    context: BuildContext, devices: Sequence[DeviceRequest], arguments: Sequence[str]
) -> ContainerSpec:
    spec = runtime(context, [f"{BUILD}/{context.library.benchmark}", *arguments])
    return replace(spec, devices=devices, keeps_stdout=True)


def shell(context: BuildContext) -> ContainerSpec:
    limits = Limits(shared_memory=context.shared_memory)
    return replace(compiler(context, ["bash"]), limits=limits)


def compiler(
    context: BuildContext,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    directory: str = BUILD,
) -> ContainerSpec:
    """Return the container that configures and compiles a library."""
    sdk = [Mount(context.sdk, f"/opt/{context.target.sdk}")] if context.sdk else []
    cache = _cache_mounts(context.compiler_cache) if context.compiler_cache else []
    return ContainerSpec(
        image=context.names[context.compiler],
        platform=context.compiler.platform,
        command=command,
        mounts=[*_mounts(context, context.compiler), *cache, *sdk],
        environment=_with_equal_objects(
            context,
            {
                **_cache_variables(context),
                **_requires_variables(context, context.compiler),
                **context.library.build.environment,
                **context.variant.environment,
                **(environment or {}),
            },
        ),
        directory=directory,
    )


def runtime(
    context: BuildContext,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    directory: str = BUILD,
) -> ContainerSpec:
    """Return the container that runs a library's tests and benchmark."""
    assert context.runtime is not None  # noqa: S101 -- asked of what runs in a container alone
    tests = context.library.tests
    return ContainerSpec(
        image=context.names[context.runtime],
        platform=context.runtime.platform,
        command=command,
        mounts=_mounts(context, context.runtime),
        environment={
            **_requires_variables(context, context.runtime),
            **(tests.environment if tests else {}),
            **context.variant.environment,
            **(environment or {}),
        },
        directory=directory,
    )


def _mounts(context: BuildContext, image: Image) -> list[Mount]:
    requires = context.requires.get(image.arch)
    return [
        Mount(context.source, SOURCE),
        Mount(context.build, BUILD),
        *([Mount(requires, REQUIRES)] if requires else []),
    ]


def _requires_variables(context: BuildContext, image: Image) -> Mapping[str, str]:
    return {"PYTHONPATH": REQUIRES} if image.arch in context.requires else {}


# Keeps nvcc's temporary files beside the object.
_OBJECT_DIRECTORY = ("--objdir-as-tempdir", "-objtemp")


def _with_equal_objects(context: BuildContext, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Add the variables that make objects reproducible: they contain the names of nvcc's temporary
    files, which are random unless the files are beside the object. The library's own flags for
    nvcc's command line are kept."""
    flags = environment.get("NVCC_APPEND_FLAGS", "")
    is_old = version_key(context.cell.cuda) < _WITH_OBJECT_DIRECTORY
    if is_old or not set(flags.split()).isdisjoint(_OBJECT_DIRECTORY):
        return environment
    return {**environment, "NVCC_APPEND_FLAGS": f"{flags} {_OBJECT_DIRECTORY[0]}".strip()}


def _cache_mounts(cache: Area) -> list[Mount]:
    programs = Path(__file__).parent / "launcher"
    return [Mount(cache, CCACHE), Mount(programs, PROGRAMS)]


def _cache_variables(context: BuildContext) -> Mapping[str, str]:
    """Return the variables with which CMake calls compilers by the launcher, which decides what is
    part of the cache's key. The launcher configures the cache: ccache and sccache read none of
    these."""
    if context.cache is None:
        return {}
    launchers = {
        f"CMAKE_{language}_COMPILER_LAUNCHER": _LAUNCHER for language in context.cache.languages
    }
    return {
        "ENVMATRIX_COMPILER_CACHE": context.cache.name,
        "ENVMATRIX_TOOLCHAIN": context.cache.toolchain,
        "ENVMATRIX_IMAGE": context.names[context.compiler],
        **launchers,
    }
