"""Inputs of the build of a library in a cell, from which everything that runs there is decided.
Pure."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

from envmatrix.confined import Area
from envmatrix.facts.targets import TARGETS, Target
from envmatrix.images.model import CompilerCache, Image
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.matrix.library import Library, PublishableWheels
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.variants import PLAIN
from envmatrix.records import dataclass
from envmatrix.sessions.flags import host_flags, variant_flags

SOURCE = "/src"
BUILD = "/build"
# The steps of compiling, whatever follows.
COMPILING = ("configure", "compile", "install")
# Where wheels are that a library is built or tested with, and where its own copy of its source is,
# if its build system writes among the sources.
REQUIRES = "/requires"
COPY = "source"
# Where libraries that others need are installed, each in a directory of its name: they are there
# in the containers of those as well, so that what they say of their place is true.
PREFIX = "/prefix"


@dataclass(frozen=True, slots=True)
class Instrumentation:
    """What an analyser needs in a build: a directory with its `name`, and these variables."""

    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def with_flags(cls, name: str, flags: str, **others: str) -> Instrumentation:
        """Return an instrumentation with flags of the host compiler, also below nvcc, and of the
        linker, in variables that CMake, Meson, Make and setuptools read."""
        return cls(name, {**host_flags(flags), **others})


UNINSTRUMENTED = Instrumentation()


@dataclass(frozen=True, slots=True)
class Command:
    """One program of a step, run in `directory` of the container."""

    step: str
    argv: Sequence[str]
    directory: str = BUILD
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a variant as options of a build system and as variables."""

    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class BuildSystem(Protocol):
    """A build system: how it configures and compiles a library. `copies_source` if it writes among
    the sources, so that it gets a copy of them; `products` are the patterns of what it builds where
    the library has no `artifacts`, each called a `product`, `published_products` those where it
    makes products fit to publish; `test_environment` are variables with which tests find them.
    `definition` is the format of an option that defines a value."""

    copies_source: bool = False
    products: Sequence[str] = ()
    published_products: Sequence[str] = ()
    product: str = "artifact"
    test_environment: Mapping[str, str] = MappingProxyType({})
    definition: str = "{name}={value}"

    def commands(self, context: BuildContext) -> Sequence[Command]:
        """Return the commands that configure and compile a library, in order."""

    def installation(self, _context: BuildContext) -> Command | None:
        """Return the command that installs a compiled library into its prefix, unless the library
        has its own; None if there is none."""
        return None

    def settings(self, library: Library) -> Settings:
        """Return the settings of a variant without its definitions: by default as flags, in
        variables."""
        return Settings(environment=variant_flags(library.variant))

    def configured(self, library: Library, sm: Sequence[str]) -> Library:
        """Return a library for GPU architectures, with the settings of its variant as options and
        variables of its build."""
        library = library.with_sm(sm)
        variant, build = library.variant, library.build
        if variant == PLAIN:
            return library
        settings = self.settings(library)
        definitions = [
            self.definition.format(name=name, value=value)
            for name, value in variant.definitions.items()
        ]
        environment = {**build.environment, **variant.environment}
        for name, text in settings.environment.items():
            environment[name] = f"{environment.get(name, '')} {text}".strip()
        if variant.sm:
            environment["CUDAARCHS"] = ";".join(variant.sm)
        options = (*build.options, *settings.options, *definitions)
        return replace(library, build=replace(build, options=options, environment=environment))

    def unused_archives(self, library: Library, log: str) -> Sequence[str]:  # noqa: ARG002 -- default
        """Return the archives of a library that its build did not look for, by the log of its
        configuration; none where a build system does not tell."""
        return ()

    def by_hand(self, context: BuildContext) -> Sequence[tuple[str, str]]:
        """Return the steps and commands that people enter for the same in a shell."""
        return [(each.step, shlex.join(each.argv)) for each in self.commands(context)]


@dataclass(frozen=True, slots=True)
class BuildContext:
    """A library in a cell on this machine: its build `system`, its directories, and the images that
    it is built and run in; `names` are their names in the engine. `source` is its tree, `requires`
    the directories of wheels by Docker's name of the architecture, and `archives` those of what
    builds would download, by their names; `prefixes` are the directories in which the libraries
    that it needs are installed, by their names, and `is_installed` is true if it is installed
    itself; `python` is the release of the images' Python. `cache` is the compiler cache that images
    have, if any, and `caches` the directory of the caches of the library's trust group;
    `shares_cache` if a gateway to the cache that machines share answers at `cache_socket`; `sdk`
    the directory of the licensed SDK that compiles, if one does; `borrowed` the components that
    images have for other libraries. `glibc` is the version that images have. `jobs` compilations
    run at once; `memory` is the limit of a container, in bytes, and `processors` as many as it
    keeps busy, where something schedules it. `requirement` is that of the machine that runs
    compiled programs; a `step` has a build directory of its own, if it has a name here."""

    cell: Cell
    library: Library
    system: BuildSystem
    root: Path
    source: Path
    caches: Path
    compiler: Image
    runtime: Image | None
    names: Mapping[Image, str]
    host_arch: str
    cache: CompilerCache | None = None
    requires: Mapping[str, Path] = field(default_factory=dict)
    prefixes: Mapping[str, Path] = field(default_factory=dict)
    is_installed: bool = False
    python: str | None = None
    archives: Mapping[str, Path] = field(default_factory=dict)
    sdk: Path | None = None
    borrowed: Collection[str] = ()
    glibc: str = ""
    instrumentation: Instrumentation = UNINSTRUMENTED
    jobs: int = 1
    memory: int | None = None
    processors: float | None = None
    shares_cache: bool = False
    requirement: Requirement | None = None
    step: str = ""

    @property
    def target(self) -> Target:
        return TARGETS[self.cell.arch]

    @property
    def sdk_name(self) -> str | None:
        """The name of the licensed SDK that compiles, if one does."""
        return self.target.sdk or self.library.variant.sdk

    @property
    def directory(self) -> Path:
        return build_parent(self.root, self.cell.id, self.library.name)

    @property
    def build(self) -> Area:
        """The build directory, one for each way to compile."""
        names = (build_name(self.compiler, self.host_arch), self.instrumentation.name, self.step)
        return Area(self.directory / "-".join(filter(None, names)))

    @property
    def prefix(self) -> str | None:
        """The directory in the container that it is installed into, if it is installed: an
        instrumented build is for its analyser alone."""
        has_prefix = self.is_installed and not self.instrumentation.name
        return f"{PREFIX}/{self.library.declared_name}" if has_prefix else None

    @property
    def installed(self) -> Area:
        """The directory of what was installed last, which no container writes to."""
        return installed_area(self.directory, self.build.name)

    @property
    def installing(self) -> Area:
        """The directory that its containers install into."""
        return Area(self.directory / f"{self.build.name}.installing")

    @property
    def history(self) -> Area:
        """The directory with the history of shells, beside the build directory."""
        return Area(self.directory / "shell")

    @property
    def compiler_cache(self) -> Area | None:
        """The directory of the compiler cache, which other libraries write to as well."""
        return Area(self.caches / self.cache.name) if self.cache else None

    @property
    def cache_socket(self) -> Path:
        """The socket of the gateway to the shared compiler cache, beside the build directory."""
        return self.directory / "compiler-cache.socket"

    @property
    def counts_shared_hits(self) -> bool:
        """True if hits of the shared compiler cache are told from others, which sccache does not
        do."""
        return self.shares_cache and self.cache is not None and self.cache.name == "ccache"

    @property
    def test_image(self) -> Image | None:
        """The image that tests run in. What a sanitizer needs at run time comes with compilers, so
        it is the image with these, unless they are for another architecture."""
        has_sanitizer = self.library.variant.sanitizer and not self.compiler.is_cross
        return self.compiler if self.runtime and has_sanitizer else self.runtime

    @property
    def is_emulated(self) -> bool:
        """True if compiled programs run here under emulation only, if at all."""
        native = self.runtime is not None and self.runtime.arch == self.host_arch
        return not native or self.target.emulator is not None

    @property
    def library_source(self) -> Path:
        """Directory of the library: a locked source may have others beside it."""
        return self.source / self.library.path if self.library.source else self.source

    @property
    def copies_source(self) -> bool:
        """Return whether the library is built in a copy of its source."""
        return self.system.copies_source or self.library.build.source_tree == "copied"

    @property
    def tree(self) -> str:
        """Directory of the library, or of its copy, in its containers."""
        return source_tree(self.library, f"{BUILD}/{COPY}" if self.copies_source else SOURCE)

    @property
    def wheels(self) -> PublishableWheels | None:
        """The way to make wheels fit to publish; those with a sanitizer or of an analyser are
        not."""
        is_plain = not self.instrumentation.name and not self.library.variant.sanitizer
        return self.library.build.wheels if is_plain else None

    @property
    def products(self) -> Sequence[str]:
        """The patterns of what a build makes: the library's own, or those of its build system."""
        if self.wheels:
            return (*self.library.artifacts, *self.system.published_products)
        return self.library.artifacts or self.system.products

    def flavour_to_extend(self, image: str) -> str:
        """Return the flavour whose packages an image has, by its name in the engine; a cross image
        has the programs of `devel`."""
        if self.runtime is not None and image == self.names.get(self.runtime):
            return "runtime"
        return "devel" if self.compiler.is_cross else self.compiler.extends

    def log(self, step: str) -> Path:
        """Return the log of a step, beside the build directory; an instrumented build has logs
        of its own, and so has each machine that something is required to run on."""
        is_built = step in COMPILING
        machine = self.requirement.place if self.requirement and not is_built else ""
        names = "-".join(filter(None, (self.instrumentation.name, step, machine)))
        return self.directory / f"{names}.log"

    @property
    def junit(self) -> Path:
        """The JUnit file of test results, beside the logs."""
        return self.log("junit").with_suffix(".xml")


def source_tree(library: Library, source: str = SOURCE) -> str:
    """Return the directory of a library in `source`: a locked source may have others beside it."""
    return posixpath.normpath(f"{source}/{library.path if library.source else '.'}")


def build_parent(root: Path, cell: str, library: str) -> Path:
    """Return the directory of the build directories of a library in a cell, and of their logs."""
    return root / BUILD_ROOT / cell / library


def build_name(compiler: Image, host_arch: str) -> str:
    """Return the name of the directory of what an image compiles on this machine."""
    return compiler.flavour if compiler.arch == host_arch else "emulated"


def prefix_directory(parent: Path, name: str) -> Path:
    """Return where a library is installed on this machine whose build directory has this parent
    and name."""
    return parent / f"{name}.prefix"


def installed_area(parent: Path, name: str) -> Area:
    """Return the same as an area: a container has written what is in it."""
    return Area(prefix_directory(parent, name))


def installation_record(parent: Path, name: str) -> Path:
    """Return the file with the hashes of what an installed library was made of, and of what it
    is."""
    return parent / f"{name}.installed"


def jobs_for(processors: int, memory: int | None, job_memory: int, requested: int | None) -> int:
    """Return the number of parallel compilations: as requested, but no more than fit in memory, in
    bytes, at `job_memory` MB each; at least one."""
    most = requested or processors
    room = most if memory is None else memory // (job_memory * 10**6)
    return max(1, min(most, room))


def source_path(file: str) -> str | None:
    """Return the path of a library's file in its source; None for any other file. Meson has
    compilers name files relative to the build directory."""
    file = posixpath.normpath(posixpath.join(BUILD, file))
    return path_inside(file, f"{BUILD}/{COPY}") or path_inside(file, SOURCE)


def path_inside(file: str, directory: str) -> str | None:
    """Return a path relative to a directory; None where it is not in it."""
    try:
        return PurePosixPath(file).relative_to(directory).as_posix()
    except ValueError:
        return None
