"""The data model of the matrix: cells, exclusions, libraries, flavours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

from envmatrix.errors import Position
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import TARGETS, docker_arch, package_triplet
from envmatrix.matrix.cells import Candidate, Cell

# The component of `policy: {cuda_compat: on}`.
COMPAT = "compat"

# The suffix of packages that a cross image has for its target.
OF_TARGET = ":{target}"

# The flavour for code analysis.
ANALYSIS = "analysis"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A cell of the product that is left out; `rule` is `exclude` or a compatibility rule."""

    cell: Candidate
    reason: str
    rule: str
    position: Position | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class SourceRule:
    """The cells that have one of the values on each of `axes` take their CUDA from `source`: out
    of `image`, by digest, where that is `image`."""

    source: str
    axes: Mapping[str, tuple[str, ...]]
    image: str | None = None

    def holds(self, cell: Candidate) -> bool:
        return all(getattr(cell, axis) in values for axis, values in self.axes.items())


def source_rule(cell: Candidate, rules: Iterable[SourceRule]) -> SourceRule | None:
    """Return the first rule that applies to the cell; None leaves the source to the facts."""
    return next((rule for rule in rules if rule.holds(cell)), None)


def named_source(cell: Candidate, rules: Iterable[SourceRule]) -> str | None:
    rule = source_rule(cell, rules)
    return rule.source if rule else None


@dataclass(frozen=True, slots=True)
class NameDefaults:
    """The values that short names leave out."""

    os: str | None = None
    arch: str | None = None


@dataclass(frozen=True, slots=True)
class CellAlias:
    """The cell that a short name stands for; `os` and `arch` may be left to the defaults."""

    cuda: str
    cudnn: str | None = None
    os: str | None = None
    arch: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The number of cells of a tier, the number of those with a GPU, and globs of cells that are
    always in it."""

    jobs: int
    gpu_jobs: int
    always: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signer:
    """The required signer of an image: the holder of the key whose public half is the file `key`
    of the repository, or `identity` as `issuer` vouches for it."""

    key: str | None = None
    identity: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """The repository of images, the hosts that they are made for (Docker's names of
    architectures), and who signs them, if anybody."""

    repository: str
    hosts: tuple[str, ...]
    signer: Signer | None = None


@dataclass(frozen=True, slots=True)
class LibrarySource:
    """The source of a library. `kind` is `git`, `perforce`, `sdist`, `debian` or `archive`; `place`
    its URL, depot path or name; `version` a revision, changelist, version, suite or sha256."""

    kind: str
    place: str
    version: str


@dataclass(frozen=True, slots=True)
class LibraryBuild:
    """The build of a library. `options` and `targets` are the build system's own; `commands` those
    of a script. `requires` are wheels to build with. `job_memory` is what one job may take, in MB,
    `timeout` in seconds."""

    system: str = "cmake"
    preset: str | None = None
    options: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    job_memory: int = 2000
    timeout: int = 14_400


@dataclass(frozen=True, slots=True)
class LibraryTest:
    """The tests of a library. `run` are programs, commands or paths, by framework; `gpu` globs of
    tests that need a GPU, `ignore` of files that no test depends on; `retries` how often a test
    that fails is tried again; `timeout` of all tests together, in seconds."""

    framework: str = "ctest"
    run: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    gpu: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    retries: int = 0
    timeout: int = 3600


# Keys of `build` and `test` whose texts are each passed to programs as one argument.
TEXTS = ("options", "targets", "commands", "run")

# Frameworks whose tests are programs that the build makes.
OF_PROGRAMS = ("googletest", "catch2")

# The default test framework of build systems.
_OWN_FRAMEWORK = {"cmake": "ctest", "meson": "meson", "bazel": "bazel"}


@dataclass(frozen=True, slots=True)
class Library:
    """A library. `path` is within `source`, or without one within the repository; `cells` are globs
    of those that it is for, all without any. `chooses_sm` says that it is meant to have code for
    other GPUs than the matrix asks for; `trust` is a group of libraries that share no objects with
    others; `shm` is how much memory its processes may share, in MB; `position` is where a file says
    its `path`."""

    name: str
    path: str = "."
    source: LibrarySource | None = None
    build: LibraryBuild = LibraryBuild()
    test: LibraryTest | None = None
    benchmark: str | None = None
    artifacts: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    cuda: Literal["toolkit", "none"] = "toolkit"
    chooses_sm: bool = False
    trust: str | None = None
    shm: int | None = None
    position: Position | None = field(default=None, compare=False)

    def suits(self, arch: str) -> bool:
        """Return whether it can be compiled for a target; those without CUDA suit `cuda: none`."""
        return self.cuda == "none" or TARGETS[arch].cuda is not None

    @property
    def tests(self) -> LibraryTest | None:
        """Its tests, or the default ones of its build system; None where it has none."""
        own = _OWN_FRAMEWORK.get(self.build.system)
        declared = self.test or (LibraryTest(own) if own else None)
        return None if self.is_only_compiled else declared

    @property
    def is_only_compiled(self) -> bool:
        """Return whether it declares that it has no tests: `test: none`."""
        return self.test is not None and self.test.framework == "none"

    def with_sm(self, sm: Sequence[str]) -> Library:
        """Return the library with GPU architectures in place of `{sm}` and other placeholders."""
        build = _with_sm(self.build, sm)
        return replace(self, build=build, test=self.test and _with_sm(self.test, sm))

    @property
    def requires(self) -> tuple[str, ...]:
        """The wheels that it is built and tested with; a Python library has its frontend as
        well."""
        frontend = ("build",) if self.build.system == "python" else ()
        return (*frontend, *self.build.requires, *(self.test.requires if self.test else ()))


# Formats of GPU architectures: CMake, lists with commas, PyTorch, nvcc.
_SM_FORMS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "{sm}": ";".join,
    "{sm,}": ",".join,
    "{sm.}": lambda sm: ";".join(re.sub(r"^(\d+)(\d)", r"\1.\2", name) for name in sm),
    "{gencode}": lambda sm: " ".join(f"-gencode=arch=compute_{name},code=sm_{name}" for name in sm),
}
# `${sm}` is a variable of a shell's or of Make's own.
_SM = re.compile(rf"(?<!\$)({'|'.join(map(re.escape, _SM_FORMS))})")

_Options = TypeVar("_Options", LibraryBuild, LibraryTest)


def _with_sm(table: _Options, sm: Sequence[str]) -> _Options:
    def fill(text: str) -> str:
        return _SM.sub(lambda match: _SM_FORMS[match[1]](sm), text)

    texts: dict[str, Any] = {
        name: tuple(map(fill, getattr(table, name))) for name in TEXTS if hasattr(table, name)
    }
    environment = {name: fill(text) for name, text in table.environment.items()}
    return replace(table, environment=environment, **texts)


@dataclass(frozen=True, slots=True)
class Flavour:
    """The contents of an image beside those of the flavour it extends; `packages` by family."""

    name: str
    components: tuple[str, ...]
    packages: Mapping[str, tuple[str, ...]]
    extends: str | None

    def packages_for(
        self, family: str, *, gcc: str, arch: str, compiler: str = ""
    ) -> tuple[str, ...]:
        """Return the package names of a family for a host compiler, whose package is `compiler`,
        and a target architecture, without the suffix of packages of the target."""
        values = {"gcc": gcc, "triplet": package_triplet(arch), "compiler": compiler}
        names = (name.removesuffix(OF_TARGET) for name in self.packages[family])
        return tuple(name.format_map(values) for name in names)

    def filter_packages(self, *, of_target: bool) -> Flavour:
        """Return a copy with only the packages that are, or are not, of the target."""
        packages = {
            family: tuple(name for name in names if name.endswith(OF_TARGET) is of_target)
            for family, names in self.packages.items()
        }
        return replace(self, packages=packages)


# Compared by identity, so that lookups can be cached per matrix.
@dataclass(frozen=True, eq=False)
class Matrix:
    """The matrix. `components` are those required in the images of a cell, without their
    dependencies; `overlays` maps files to reasons."""

    cells: tuple[Cell, ...]
    exclusions: tuple[Exclusion, ...]
    sources: tuple[SourceRule, ...]
    require_cuda: str
    cuda_compat: bool
    registry: Publication | None
    axes: Mapping[str, tuple[str, ...]]
    defaults: NameDefaults
    aliases: Mapping[str, CellAlias]
    sm: tuple[str, ...]
    bases: Mapping[str, str]
    libraries: tuple[Library, ...]
    components: tuple[str, ...]
    tiers: Mapping[str, Budget]
    flavours: Mapping[str, Flavour]
    facts: Facts
    overlays: Mapping[str, str]

    @cached_property
    def by_id(self) -> Mapping[str, Cell]:
        return {cell.id: cell for cell in self.cells}

    def overlay_of(self, cell: Cell) -> str | None:
        """Return the overlay that adds a cell, with its reason; None for cells of matrix.yaml."""
        file = cell.position.file if cell.position else ""
        return f"{file}: {self.overlays[file]}" if file in self.overlays else None

    def lineage(self, flavour: str) -> tuple[Flavour, ...]:
        """Return `flavour` and all that it extends, the base one first."""
        last = self.flavours[flavour]
        return (*(self.lineage(last.extends) if last.extends else ()), last)

    def packages_across(
        self, family: str, *, gcc: str, arch: str, compiler: str = ""
    ) -> tuple[str, ...]:
        """Return the package names of `cross`: its own, and those of the target in the flavours
        that it extends, as `name:architecture`."""
        words = {"gcc": gcc, "arch": arch, "compiler": compiler}
        own = self.flavours["cross"].filter_packages(of_target=False)
        of_target = [
            f"{name}:{docker_arch(arch)}"
            for step in self.lineage("cross")
            for name in step.filter_packages(of_target=True).packages_for(family, **words)
        ]
        return (*own.packages_for(family, **words), *of_target)

    def has_analysis(self, cell: Cell) -> bool:
        """Return whether the cell has an image for code analysis."""
        family = self.facts.os[cell.os].family.name
        return ANALYSIS in self.flavours and bool(self.flavours[ANALYSIS].packages.get(family))

    def components_of(self, cell: Cell, flavour: str) -> tuple[str, ...]:
        """Return the components that a flavour and the libraries ask for, with dependencies."""
        return self._components(cell, flavour, self.libraries)

    def borrowed_components(self, cell: Cell, library: Library) -> frozenset[str]:
        """Return the components of the devel image that only other libraries asked for."""
        own = self._components(cell, "devel", (library,))
        return frozenset(self.components_of(cell, "devel")) - frozenset(own)

    def _components(
        self, cell: Cell, flavour: str, libraries: Iterable[Library]
    ) -> tuple[str, ...]:
        requested = [name for step in self.lineage(flavour) for name in step.components]
        requested += [name for library in libraries for name in library.components]
        return self.facts.with_needs(requested, cell.cuda)
