"""The matrix as the rest of the program sees it: planned cells, exclusions, libraries, flavours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

from envmatrix.errors import Position
from envmatrix.matrix.cells import Cell, docker_arch, package_triplet
from envmatrix.matrix.compatibility import Toolchain
from envmatrix.matrix.facts import Facts
from envmatrix.matrix.targets import TARGETS

# The component that `policy: {cuda_compat: on}` asks for.
COMPAT = "compat"

# What ends the name of a package that a cross image has for its target.
OF_TARGET = ":{target}"

# The flavour that examines code.
ANALYSIS = "analysis"


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell that will exist; `position` is what in matrix.yaml or an overlay asks for it."""

    cell: Cell
    toolchain: Toolchain
    position: Position | None = None
    included: bool = False

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def is_crossed(self) -> bool:
        """Whether a machine of the cross host's architecture compiles it without emulation. An
        image has CUDA for its own architecture only."""
        its, target = self.toolchain, TARGETS[self.cell.arch]
        return target.crossed == "only" or (
            target.crossed == "also" and its.cross and not its.cuda.image
        )


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A cell of the product that will not exist; `rule` is `exclude` or a compatibility rule."""

    cell: Cell
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

    def holds(self, cell: Cell) -> bool:
        return all(getattr(cell, axis) in values for axis, values in self.axes.items())


def source_rule(cell: Cell, rules: Iterable[SourceRule]) -> SourceRule | None:
    """The first rule that holds; None leaves it to what is known of the release."""
    return next((rule for rule in rules if rule.holds(cell)), None)


def named_source(cell: Cell, rules: Iterable[SourceRule]) -> str | None:
    rule = source_rule(cell, rules)
    return rule.source if rule else None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a short name leaves out."""

    os: str | None = None
    arch: str | None = None


@dataclass(frozen=True, slots=True)
class Alias:
    """What a short name stands for; `os` and `arch` may be left to the defaults."""

    cuda: str
    cudnn: str | None = None
    os: str | None = None
    arch: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How many cells a tier has, how many of them get a GPU, and which it never leaves out."""

    jobs: int
    gpu_jobs: int
    always: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signer:
    """Who has to have signed an image: the holder of the key whose public half is the file `key`
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
    """`kind` is `git`, `perforce`, `sdist`, `debian` or `archive`; `place` what it is known by, and
    `version` which one: a revision, a changelist, a version, a suite's name of packages, a
    sha256."""

    kind: str
    place: str
    version: str


@dataclass(frozen=True, slots=True)
class LibraryBuild:
    """`options` and `targets` are the build system's own; `commands` those of a script. `requires`
    are wheels to build with. `job_memory` is what one job may take, in MB, `timeout` in
    seconds."""

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
    """`run` are programs, commands or paths, as the framework has it; `gpu` globs of tests that
    need a GPU, `ignore` of files that no test depends on; `retries` how often a test that fails is
    tried again; `timeout` of all tests together, in seconds."""

    framework: str = "ctest"
    run: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    gpu: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    retries: int = 0
    timeout: int = 3600


# Keys of `build` and `test` whose texts are given to programs, each in one piece.
TEXTS = ("options", "targets", "commands", "run")

# Frameworks whose tests are programs that the build makes.
OF_PROGRAMS = ("googletest", "catch2")

# What tests a library of a build system unless it says so itself.
_OWN_FRAMEWORK = {"cmake": "ctest", "meson": "meson", "bazel": "bazel"}


@dataclass(frozen=True, slots=True)
class Library:
    """`path` is within `source`, or without one within the repository; `cells` are globs of those
    that it is for, all without any. `chooses_sm` says that it is meant to have code for other GPUs
    than the matrix asks for; `trust` is a group of libraries that share no objects with others;
    `shm` is how much memory its processes may share, in MB; `position` is where a file says its
    `path`."""

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
        """Whether it can be compiled for a target: one without CUDA takes what needs none."""
        return self.cuda == "none" or TARGETS[arch].cuda is not None

    @property
    def tests(self) -> LibraryTest | None:
        """How it is tested; None where it has no tests."""
        own = _OWN_FRAMEWORK.get(self.build.system)
        declared = self.test or (LibraryTest(own) if own else None)
        return None if self.is_only_compiled else declared

    @property
    def is_only_compiled(self) -> bool:
        """Whether it says that it has no tests: `test: none`."""
        return self.test is not None and self.test.framework == "none"

    def compiled_for(self, sm: Sequence[str]) -> Library:
        """The library with the GPU architectures where its texts have `{sm}` and the like."""
        build = _with_sm(self.build, sm)
        return replace(self, build=build, test=self.test and _with_sm(self.test, sm))

    @property
    def requires(self) -> tuple[str, ...]:
        """The wheels that it is built and tested with: of a Python library also what builds it."""
        frontend = ("build",) if self.build.system == "python" else ()
        return (*frontend, *self.build.requires, *(self.test.requires if self.test else ()))


# How the GPU architectures are written for whom: CMake, lists with commas, PyTorch, nvcc.
_SM_FORMS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "{sm}": ";".join,
    "{sm,}": ",".join,
    "{sm.}": lambda sm: ";".join(re.sub(r"^(\d+)(\d)", r"\1.\2", name) for name in sm),
    "{gencode}": lambda sm: " ".join(f"-gencode=arch=compute_{name},code=sm_{name}" for name in sm),
}
# `${sm}` is a variable of a shell's or of Make's own.
_SM = re.compile(rf"(?<!\$)({'|'.join(map(re.escape, _SM_FORMS))})")

_Told = TypeVar("_Told", LibraryBuild, LibraryTest)


def _with_sm(table: _Told, sm: Sequence[str]) -> _Told:
    def written(text: str) -> str:
        return _SM.sub(lambda match: _SM_FORMS[match[1]](sm), text)

    texts: dict[str, Any] = {
        name: tuple(map(written, getattr(table, name))) for name in TEXTS if hasattr(table, name)
    }
    environment = {name: written(text) for name, text in table.environment.items()}
    return replace(table, environment=environment, **texts)


@dataclass(frozen=True, slots=True)
class Flavour:
    """What an image holds beside what the flavour it extends holds; `packages` by family."""

    name: str
    components: tuple[str, ...]
    packages: Mapping[str, tuple[str, ...]]
    extends: str | None

    def packages_for(
        self, family: str, *, gcc: str, arch: str, compiler: str = ""
    ) -> tuple[str, ...]:
        """The package names of a family for a host compiler, whose package is `compiler`, and a
        target architecture. In an image of its own, a package of the target is one of the image."""
        values = {"gcc": gcc, "triplet": package_triplet(arch), "compiler": compiler}
        names = (name.removesuffix(OF_TARGET) for name in self.packages[family])
        return tuple(name.format_map(values) for name in names)

    def sorted_out(self, *, of_target: bool) -> Flavour:
        """A copy with the packages that are, or are not, of the target."""
        kept = {
            family: tuple(name for name in names if name.endswith(OF_TARGET) is of_target)
            for family, names in self.packages.items()
        }
        return replace(self, packages=kept)


# Compared by identity: two matrices are never equal by chance, and lookups can be kept per matrix.
@dataclass(frozen=True, eq=False)
class Matrix:
    """`components`: all that the images of a cell have to have, beside what these need.
    `overlays`: the file of each, and its reason."""

    cells: tuple[PlannedCell, ...]
    exclusions: tuple[Exclusion, ...]
    sources: tuple[SourceRule, ...]
    require_cuda: str
    cuda_compat: bool
    registry: Publication | None
    axes: Mapping[str, tuple[str, ...]]
    defaults: Defaults
    aliases: Mapping[str, Alias]
    sm: tuple[str, ...]
    bases: Mapping[str, str]
    libraries: tuple[Library, ...]
    components: tuple[str, ...]
    tiers: Mapping[str, Budget]
    flavours: Mapping[str, Flavour]
    facts: Facts
    overlays: Mapping[str, str]

    @cached_property
    def by_id(self) -> Mapping[str, PlannedCell]:
        return {planned.id: planned for planned in self.cells}

    def overlay_of(self, planned: PlannedCell) -> str | None:
        """The overlay that asks for a cell, with its reason; None for what matrix.yaml asks for."""
        file = planned.position.file if planned.position else ""
        return f"{file}: {self.overlays[file]}" if file in self.overlays else None

    def lineage(self, flavour: str) -> tuple[Flavour, ...]:
        """`flavour` and all that it builds on, the first one first."""
        found = self.flavours[flavour]
        return (*(self.lineage(found.extends) if found.extends else ()), found)

    def packages_across(
        self, family: str, *, gcc: str, arch: str, compiler: str = ""
    ) -> tuple[str, ...]:
        """The package names of `cross`: its own, and all that are of the target in what it builds
        on, by the name of the target's machine."""
        words = {"gcc": gcc, "arch": arch, "compiler": compiler}
        own = self.flavours["cross"].sorted_out(of_target=False)
        of_target = [
            f"{name}:{docker_arch(arch)}"
            for step in self.lineage("cross")
            for name in step.sorted_out(of_target=True).packages_for(family, **words)
        ]
        return (*own.packages_for(family, **words), *of_target)

    def has_analysis(self, planned: PlannedCell) -> bool:
        """Whether there is a flavour that examines code, for the cell's kind of packages."""
        family = self.facts.os[planned.cell.os].family.name
        return ANALYSIS in self.flavours and bool(self.flavours[ANALYSIS].packages.get(family))

    def components_of(self, planned: PlannedCell, flavour: str) -> tuple[str, ...]:
        """What a flavour and the libraries ask for, and what that needs."""
        return self._components(planned, flavour, self.libraries)

    def borrowed_components(self, planned: PlannedCell, library: Library) -> frozenset[str]:
        """What is in the image that a library is compiled in, and only others asked for."""
        own = self._components(planned, "devel", (library,))
        return frozenset(self.components_of(planned, "devel")) - frozenset(own)

    def _components(
        self, planned: PlannedCell, flavour: str, libraries: Iterable[Library]
    ) -> tuple[str, ...]:
        asked = [name for step in self.lineage(flavour) for name in step.components]
        asked += [name for library in libraries for name in library.components]
        return self.facts.with_needs(asked, planned.cell.cuda)
