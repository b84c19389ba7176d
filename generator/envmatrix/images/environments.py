"""Environments: the images of the cells that differ in architecture only. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import lru_cache
from itertools import groupby, product
from operator import attrgetter
from typing import TYPE_CHECKING

from envmatrix.errors import OutOfDate
from envmatrix.facts.systems import Compiler, Family
from envmatrix.facts.targets import CROSS_HOST, MACHINES, TARGETS, Target, docker_arch
from envmatrix.images.cross_images import Cross
from envmatrix.images.cuda_layers import RecipeTexts, Tree, assemble
from envmatrix.images.model import BuildNeeds, Image
from envmatrix.lock.lock_file import FILE
from envmatrix.lock.model import (
    Artifact,
    Excerpt,
    ImageRequest,
    Lock,
    PackageSet,
    StageFile,
    SystemRequest,
    with_excerpts,
)
from envmatrix.lock.requests import (
    cuda_sets,
    cudnn_set,
    library_layers,
    os_sets,
    python_sets,
    toolkit_set,
    words_of,
)
from envmatrix.matrix.cells import ARCHES, Cell, HostCompiler, sort_key
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import ANALYSIS, COMPAT, DEV, Matrix
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.facts.recipes import Recipe, Recipes

# The package with the build configuration of Python, which differs by architecture.
_PYTHON = re.compile(r"libpython3\.\d+-minimal")

# The start of the names of stages with the programs that unpack files on a build host.
_UNPACKERS = "unpacker-files-"

# The most stages of a kind that are kept for other environments; one has about ten of each.
SHARED_STAGES = 128

# The start of the names of stages that compile Python, and of their files.
_PYTHON_BUILD = "python-build-"

# ADD steps of one stage; BuildKit stops at about 120 layers.
_ADDS_PER_STAGE = 100

# The patterns of the members that images use of the files of a set, by the names of the files.
Members = Mapping[str, tuple[str, ...]]

# Packages from this size on, in bytes, have layers of their own; the most of one stage.
_LARGE_PACKAGE = 500_000
_LARGE_PACKAGES = 20


@dataclass(frozen=True, slots=True)
class FileStage:
    """A stage with only `artifacts`, of the set `key` in the lock; the builder replaces it by
    `files` of its store. They are no part of its hash, which thousands of lookups compute."""

    key: str
    stage: str
    artifacts: tuple[Artifact, ...] = field(hash=False)
    excerpts: tuple[Excerpt, ...] = field(default=(), hash=False)

    @property
    def files(self) -> tuple[StageFile, ...]:
        return with_excerpts(self.artifacts, self.excerpts)

    @property
    def is_only_for_building(self) -> bool:
        """Return whether its files are in no image, because they are compilers of a part of it."""
        return self.stage.startswith(_PYTHON_BUILD)

    @property
    def arch(self) -> str:
        """The architecture of the images with these files (Docker's name)."""
        return self.stage.rsplit("-", 1)[-1]

    @property
    def groups(self) -> tuple[tuple[Artifact, ...], ...]:
        size = _ADDS_PER_STAGE
        rows = self.artifacts
        return tuple(rows[start : start + size] for start in range(0, len(rows), size))

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the stages of the groups, if there are several."""
        count = len(self.groups)
        return tuple(f"{self.stage}-{number + 1}" for number in range(count)) if count > 1 else ()


@dataclass(frozen=True, slots=True)
class BaseStage:
    """The stage of a base. `key` is its set in the lock; `image` its local name if it is
    bootstrapped, or else an image by digest."""

    key: str
    stage: str
    arch: str
    image: str
    is_bootstrapped: bool


@dataclass(frozen=True, slots=True)
class SecondCompilers:
    """Compilers other than the default ones, over the image `base`: `host` is that of C and C++,
    with the programs of `compiler`, `has_cuda_clang` tells that it compiles CUDA as well. `name` is
    the one in ids. `cross` has the target, if any."""

    name: str
    base: str
    host: HostCompiler
    compiler: Compiler
    has_cuda_clang: bool
    sm: tuple[str, ...]
    cross: Cross | None = None

    @property
    def flavour(self) -> str:
        return f"{self.base}-{self.name}"

    def extended(self, extension: str) -> str:
        """Return the flavour of an optional flavour with these compilers."""
        return f"{extension}-{self.name}"

    @property
    def title(self) -> str:
        return f"{self.host.title}{' for CUDA as well' if self.has_cuda_clang else ''}"

    @property
    def packages(self) -> str:
        """The start of the names of stages with its packages, the same with each compiler of
        CUDA."""
        return f"{self.base}-{self.host.word}"


@dataclass(frozen=True, slots=True)
class CompiledPython:
    """A Python for the machine of `target`, compiled on `host` from the `source` in a stage of
    files, in the stage `build` with the packages of the stage `files`, over `below`. `links` are
    the usual names of the compilers there."""

    release: str
    host: str
    target: Target
    source: str
    below: str
    foreign: tuple[str, ...]
    links: tuple[tuple[str, str], ...]

    @property
    def stage(self) -> str:
        return f"python{self.release}-{self.target.machine}"

    @property
    def native_stage(self) -> str:
        """The stage of the same Python for the machine that it is compiled on."""
        return f"python{self.release}-{self.host}"

    @property
    def is_crossed(self) -> bool:
        return self.target.machine != self.host

    @property
    def build(self) -> str:
        return f"{_PYTHON_BUILD}{self.target.machine}"

    @property
    def files(self) -> str:
        return f"{_PYTHON_BUILD}files-{self.target.machine}"


@dataclass(frozen=True, slots=True)
class SecondPython:
    """A Python other than that of the operating system, over the image `base`. `cross` has the
    target, if any."""

    release: str
    base: str
    cross: Cross | None = None

    @property
    def flavour(self) -> str:
        return f"{self.base}-py{self.release}"


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """The `image` of a library over one of the environment: the stage of its `files`, and the
    foreign architectures of its packages."""

    image: Image
    files: str
    foreign: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """The contents of the Dockerfile of one environment. `arches` are those of its native images,
    by Docker's name."""

    name: str
    os: str
    cuda: str
    cudnn: str | None
    requirement: str | None
    compat: bool
    gcc: str
    compiler: Compiler
    installer: str
    omitted_paths: tuple[str, ...]
    sm: tuple[str, ...]
    epoch: int
    arches: tuple[str, ...]
    bases: tuple[BaseStage, ...]
    files: tuple[FileStage, ...]
    trees: tuple[Tree, ...]
    crosses: tuple[Cross, ...]
    images: tuple[Image, ...]
    compilers: tuple[SecondCompilers, ...] = ()
    compiled_pythons: tuple[CompiledPython, ...] = ()
    pythons: tuple[SecondPython, ...] = ()
    library_images: tuple[LibraryImage, ...] = ()

    @property
    def summary(self) -> str:
        """The toolchain of its images, as text."""
        cudnn = f", cuDNN {self.cudnn}" if self.cudnn else ""
        return f"CUDA {self.cuda}{cudnn}, GCC {self.gcc}"

    def members(self, stage: FileStage) -> Members:
        """Return the patterns of the members that trees take of the files in a stage, by the names
        of these files."""
        members: dict[str, set[str]] = {}
        trees = (tree for tree in self.trees if tree.files == stage.stage)
        for unpacking in (row for tree in trees for row in tree.unpackings):
            members.setdefault(unpacking.file, set()).update(unpacking.members)
        return {file: tuple(sorted(patterns)) for file, patterns in members.items()}

    def large_packages(self, stage: str) -> tuple[str, ...]:
        """Return the names of the packages that have layers of their own, the largest first, of a
        stage of files, or of that whose name begins with it. Those of foreign architectures are
        `name:arch`, as dpkg names them. Of several architectures the first decides for all, so that
        images stay what they are when another one is added."""
        names = {stage, *[f"{stage}-{arch}" for arch in MACHINES]}
        stages = [row for row in self.files if row.stage in names]
        return _large_packages(min(stages, key=lambda row: row.arch)) if stages else ()

    @property
    def extensions(self) -> tuple[str, ...]:
        """The optional flavours over `devel` that it has."""
        flavours = {image.flavour for image in self.images}
        return tuple(name for name in (ANALYSIS, DEV) if name in flavours)

    @property
    def has_package_layers(self) -> bool:
        """Return whether installed packages are divided into layers."""
        return self.installer == "deb"

    @property
    def is_on_image(self) -> bool:
        """Return whether a base is a third-party image."""
        return not all(base.is_bootstrapped for base in self.bases)

    def files_of(self, stages: Collection[str], host: str | None) -> tuple[FileStage, ...]:
        """Return the stages of files that the build of an image with these `stages` needs: its own,
        and the unpackers of a build host of the architecture `host`, or of any if that is None."""
        unpackers = f"{_UNPACKERS}{host or ''}"
        return tuple(
            row for row in self.files if row.stage in stages or row.stage.startswith(unpackers)
        )

    def bases_of(self, arch: str, host: str | None) -> tuple[BaseStage, ...]:
        """Return the bootstrapped bases that the build of an image for `arch` needs: its own, and
        that of a build host of the architecture `host`, or of any if that is None."""
        return tuple(
            base
            for base in self.bases
            if base.is_bootstrapped and (host is None or base.arch in (arch, host))
        )

    def needs_of(self, stages: Collection[str], arch: str, host: str) -> BuildNeeds:
        """Return what the build of an image for `arch` with these `stages` needs on `host`."""
        return BuildNeeds(
            tuple(row.key for row in self.files_of(stages, host) if row.artifacts),
            tuple(base.key for base in self.bases_of(arch, host)),
        )

    @property
    def stub_trees(self) -> Mapping[str, Tree]:
        """The trees whose headers declare the libraries of the driver, by the target."""
        trees = (tree for tree in self.trees if tree.stubs)
        return {tree.stage.removeprefix("cuda-devel-"): tree for tree in trees}

    @property
    def has_native_stubs(self) -> bool:
        return any(arch in self.stub_trees for arch in self.arches)

    @property
    def has_bootstrapped_base(self) -> bool:
        return any(base.is_bootstrapped for base in self.bases)


# Environments share most stages of files with those before them.
@lru_cache(SHARED_STAGES)
def _large_packages(stage: FileStage) -> tuple[str, ...]:
    own = ("all", MACHINES[stage.arch].debian)
    sizes: dict[str, int] = {}
    for item in stage.artifacts:
        if item.size < _LARGE_PACKAGE:
            continue
        arch = item.filename.removesuffix(".deb").rsplit("_", 1)[-1]
        name = item.name if arch in own else f"{item.name}:{arch}"
        sizes[name] = max(item.size, sizes.get(name, 0))
    ordered = sorted(sizes, key=lambda name: (-sizes[name], name))
    return tuple(ordered[:_LARGE_PACKAGES])


def base_image(key: str, base: PackageSet) -> str:
    """Return the image of the base locked under `key` (`debian12-amd64-base`): one by digest, or
    the local name of a bootstrapped one."""
    if isinstance(base.request, ImageRequest):
        return base.request.image
    layer = str(base.diff_id).removeprefix("sha256:")
    return f"envmatrix/base:{key.removesuffix('-base')}-{layer[:12]}"


def environments(
    matrix: Matrix, lock: Lock, recipes: Recipes, cells: Iterable[Cell]
) -> Iterator[Environment]:
    """Yield the environments of `cells`, each with all its architectures in the matrix."""
    names = {cell.environment for cell in cells}
    # Environments that share trees follow each other; all trees together take much memory.
    trees_before: Mapping[Tree, Tree] = {}
    for name, group in _groups(matrix):
        if name in names:
            stages = _Stages(matrix, lock, recipes, trees_before, group)
            yield stages.environment()
            trees_before = stages.assembled


def _groups(matrix: Matrix) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """Yield the name and the cells of each environment."""
    ordered = sorted(matrix.cells, key=sort_key)
    for name, group in groupby(ordered, key=attrgetter("environment")):
        yield name, tuple(group)


def require_current_excerpts(lock: Lock, matrix: Matrix, recipes: Recipes) -> None:
    """Raise OutOfDate with all excerpts of a lock that have other members than those that images
    use of a file. Otherwise the lock is up to date with the matrix."""
    if stale := _stale_excerpts(lock, matrix, recipes):
        raise OutOfDate(
            f"`{FILE}` is out of date with what images use of packages",
            details=[
                f"`{key}`: its excerpt of `{name}` has other files than images use"
                for key, name in sorted(stale)
            ],
            hint="bring it up to date: `envmatrix lock`",
        )


def _stale_excerpts(lock: Lock, matrix: Matrix, recipes: Recipes) -> set[tuple[str, str]]:
    """Return the key of the set and the name of the file of each excerpt that is out of date."""
    excerpts = {key: row.excerpts for key, row in lock.sets.items() if row.excerpts}
    members = members_of_sets(excerpts, lock, matrix, recipes)
    return {
        (key, excerpt.artifact.name)
        for key, of_set in excerpts.items()
        for excerpt in of_set
        if members.get(key, {}).get(excerpt.filename) != excerpt.patterns
    }


def sets_without_excerpts(lock: Lock, matrix: Matrix, recipes: Recipes) -> tuple[str, ...]:
    """Return the keys of the sets of whose files images use members, but that were not inspected
    for excerpts: those of an older lock, and those of files that no server had."""
    keys = {key for key, row in lock.sets.items() if row.excerpts is None}
    return tuple(sorted(keys & members_of_sets(keys, lock, matrix, recipes).keys()))


def members_of_sets(
    keys: Collection[str], lock: Lock, matrix: Matrix, recipes: Recipes
) -> Mapping[str, Members]:
    """Return the members that images use of each of these sets, without sets that images use as a
    whole. Other sets may be in the result as well.

    All environments use the same members of a set, so one of them is enough for each set.
    """
    members: dict[str, Members] = {}
    for _, group in _groups(matrix):
        remaining = {*keys} - members.keys()
        if not remaining.isdisjoint(key for cell in group for key in cuda_sets(cell)):
            environment = _Stages(matrix, lock, recipes, {}, group).environment()
            members |= {stage.key: environment.members(stage) for stage in environment.files}
    return {key: of_set for key, of_set in members.items() if of_set}


def _one_of_each_target(cells: Iterable[Cell], compilers: str | None = None) -> Sequence[Cell]:
    """Return the first cell of each target, of some compilers alone if they are given."""
    first: dict[str, Cell] = {}
    for cell in cells:
        if compilers in (None, cell.compilers):
            first.setdefault(cell.arch, cell)
    return [first[target] for target in TARGETS if target in first]


def _requirement(cuda: str, policy: str) -> str | None:
    """Return NVIDIA_REQUIRE_CUDA, the CUDA that the driver must support; None without a policy."""
    major, minor = cuda.split(".")[:2]
    return {"major": f"cuda>={major}.0", "release": f"cuda>={major}.{minor}"}.get(policy)


@dataclass(slots=True)
class _Stages:
    """Collects the stages of the environment of `cells`, each once. `assembled` are its trees by
    what they are made from, `trees_before` those of the environment before it."""

    matrix: Matrix
    lock: Lock
    recipes: Recipes
    trees_before: Mapping[Tree, Tree]
    cells: tuple[Cell, ...]
    bases: dict[str, BaseStage] = field(default_factory=dict)
    files: dict[str, FileStage] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    assembled: dict[Tree, Tree] = field(default_factory=dict)
    library_images: dict[Image, LibraryImage] = field(default_factory=dict)

    def environment(self) -> Environment:
        matrix, first = self.matrix, self.cells[0]
        cells = _one_of_each_target(self.cells)
        crossed = [cell for cell in cells if cell.is_crossed]
        for cell in cells:
            if TARGETS[cell.arch].machine:
                self._add_os(cell, cell.arch)
            if TARGETS[cell.arch].cuda and not cell.toolchain.cuda.image:
                self._add_toolkit(cell)
        for cell in crossed:
            self._add_os(cell, CROSS_HOST, target=cell.arch)
        if not crossed and not first.toolchain.cuda.image:
            self._add_build_host(first, CROSS_HOST)
        by_target = sorted(self.cells, key=lambda cell: ARCHES.index(cell.arch))
        with_packages = [library for library in matrix.libraries if library.packages]
        for cell, library in product(by_target, with_packages):
            self._add_library(cell, library)
        targets = [TARGETS[cell.arch] for cell in cells]
        arches = tuple(sorted({str(row.machine) for row in targets if row.is_native}))
        crosses = tuple(map(self._cross_of, crossed))
        extensions = matrix.extensions(first)
        flavours = ("runtime", "devel", *extensions)
        images = [(flavour, arch) for flavour in flavours for arch in arches]
        for cross in crosses:
            images.append((cross.name, cross.host))
            images += [(cross.runtime, str(cross.target.machine))] if cross.runtime else []
        compilers = tuple(self._second_compilers(crosses))
        images += [image for row in compilers for image in self._images_with(row)]
        images += [
            (row.extended(name), arch)
            for row, name in product(compilers, extensions)
            for _, arch in self._images_with(row)
            if row.cross is None
        ]
        pythons, compiled = self._second_pythons(crosses), tuple(self._compiled_pythons())
        images += pythons
        of_flavours = [Image(first.environment, *image) for image in images]
        return Environment(
            name=first.environment,
            os=first.os,
            cuda=first.cuda,
            cudnn=first.cudnn,
            requirement=_requirement(first.cuda, matrix.require_cuda),
            compat=matrix.cuda_compat,
            gcc=first.toolchain.gcc,
            compiler=matrix.facts.compiler(first.os, first.toolchain.gcc),
            installer=self._family.installer,
            omitted_paths=matrix.omitted_paths,
            sm=first.toolchain.sm,
            epoch=self.lock.epoch,
            arches=arches,
            bases=tuple(self.bases.values()),
            files=tuple(self.files.values()),
            trees=tuple(self.trees.values()),
            crosses=crosses,
            images=(*of_flavours, *self.library_images),
            compilers=compilers,
            compiled_pythons=compiled,
            pythons=tuple(dict.fromkeys(pythons.values())),
            library_images=tuple(self.library_images.values()),
        )

    def _second_compilers(self, crosses: Iterable[Cross]) -> Iterator[SecondCompilers]:
        """Yield the compilers of cells other than the default ones, over each of the images."""
        of_target = {cross.target.name: cross for cross in crosses}
        rows: dict[str, SecondCompilers] = {}
        for cell in self.cells:
            if not cell.compiler:
                continue
            if TARGETS[cell.arch].is_native:
                self._add_compiler(cell, cell.arch)
                row = self._compilers_of(cell, None)
                rows.setdefault(row.flavour, row)
            if cross := of_target.get(cell.arch):
                self._add_compiler(cell, CROSS_HOST, target=cell.arch)
                row = self._compilers_of(cell, cross)
                rows.setdefault(row.flavour, row)
        yield from rows.values()

    def _compilers_of(self, cell: Cell, cross: Cross | None) -> SecondCompilers:
        facts, host = self.matrix.facts, cell.host_compiler
        is_clang, has_cuda_clang = host.kind == "clang", cell.cuda_compiler is not None
        programs = facts.clang_compiler if is_clang else facts.compiler
        if cross and is_clang:
            cross = replace(cross, clang=host.major, cuda_clang=has_cuda_clang)
        elif cross:
            cross = replace(cross, gcc=host.major)
        return SecondCompilers(
            name=cell.compilers,
            base=cross.name if cross else "devel",
            host=host,
            compiler=programs(cell.os, host.major),
            has_cuda_clang=has_cuda_clang,
            sm=cell.toolchain.sm,
            cross=cross,
        )

    def _add_compiler(self, cell: Cell, arch: str, target: str | None = None) -> None:
        name = f"cross{TARGETS[target].suffix}" if target else "devel"
        key = str(os_sets(cell, arch, target).compiler)
        self._add_files(f"{name}-{cell.host_compiler.word}-files-{docker_arch(arch)}", key)

    def _images_with(self, compilers: SecondCompilers) -> Iterator[tuple[str, str]]:
        """Yield the flavour and the architecture of the images with some compilers."""
        if compilers.cross:
            yield compilers.flavour, compilers.cross.host
            return
        for cell in _one_of_each_target(self.cells, compilers.name):
            if TARGETS[cell.arch].is_native:
                yield compilers.flavour, docker_arch(cell.arch)

    def _second_pythons(self, crosses: Iterable[Cross]) -> Mapping[tuple[str, str], SecondPython]:
        """Return the Pythons of cells other than that of the operating system, over each of the
        images, by the flavour and the architecture of images with them."""
        of_target = {cross.target.name: cross for cross in crosses}
        rows: dict[tuple[str, str], SecondPython] = {}
        for cell in self.cells:
            if not cell.python:
                continue
            machine, compilers = docker_arch(cell.arch), replace(cell, python=None)
            places: list[tuple[str, str, Cross | None]] = [("runtime", machine, None)]
            places.append((compilers.flavour("devel"), machine, None))
            if cross := of_target.get(cell.arch):
                places.append((compilers.flavour(cross.name), cross.host, cross))
            for base, arch, across in places:
                row = SecondPython(cell.python, base, across)
                rows.setdefault((row.flavour, arch), row)
        return rows

    def _compiled_pythons(self) -> Iterator[CompiledPython]:
        """Yield the Pythons that are compiled, that of the build host before those that are
        compiled with it."""
        cells = [cell for cell in self.cells if cell.python]
        for cell in cells:
            self._add_build_host(cell, CROSS_HOST)
            for arch in dict.fromkeys([cell.arch, *([CROSS_HOST] if cell.is_crossed else [])]):
                key = str(os_sets(cell, arch).python)
                self._add_files(f"python-libraries-{docker_arch(arch)}", key)
        rows = {
            (cell.python, arch): self._compiled_python(cell, arch)
            for cell in cells
            for arch in (CROSS_HOST, cell.arch)
        }
        yield from sorted(rows.values(), key=lambda row: row.is_crossed)

    def _compiled_python(self, cell: Cell, arch: str) -> CompiledPython:
        keys, facts, target = python_sets(cell), self.matrix.facts, TARGETS[arch]
        assert keys is not None  # noqa: S101 -- cells with a Python of their own have them
        host, os, is_crossed = docker_arch(CROSS_HOST), facts.os[cell.os], arch != CROSS_HOST
        gcc = os.newest_cross_gcc(arch) if is_crossed else max(os.gcc, key=int)
        compiler, prefix = facts.compiler(cell.os, gcc), target.prefix if is_crossed else ""
        programs = (("gcc", compiler.cc), ("g++", compiler.cxx))
        row = CompiledPython(
            release=str(cell.python),
            host=host,
            target=target,
            source=f"{keys.source.removesuffix('-source')}-files",
            below=f"{_PYTHON_BUILD}{host}" if is_crossed else f"base-{host}",
            foreign=(docker_arch(arch),) if is_crossed else (),
            links=tuple((f"{prefix}{name}", f"{prefix}{program}") for name, program in programs),
        )
        self._add_files(row.source, keys.source)
        self._add_files(row.files, str(keys.target if is_crossed else keys.build))
        return row

    @property
    def _family(self) -> Family:
        return self.matrix.facts.os[self.cells[0].os].family

    def _add_os(self, cell: Cell, arch: str, target: str | None = None) -> None:
        keys = os_sets(cell, arch, target)
        self._add_build_host(cell, arch)
        machine = docker_arch(arch)
        self._add_files(f"runtime-files-{machine}", keys.runtime)
        row = TARGETS[target or arch]
        if target or row.is_native:
            self._add_files(f"devel-files-{machine}", keys.devel)
            for name in self.matrix.extensions(cell):
                self._add_files(f"{name}-files-{machine}", keys.extensions[name])
        if keys.cross:
            self._add_files(f"cross{row.suffix}-files-{machine}", keys.cross)
        if keys.emulator:
            self._add_files(f"runtime{row.suffix}-files-{row.machine}", keys.emulator)

    def _add_library(self, cell: Cell, library: Library) -> None:
        """Add the images of a library over those of a cell."""
        for layer in library_layers(library, cell, self.matrix):
            image = Image(cell.environment, layer.flavour, layer.arch, library.declared_name)
            files = f"files-{image.name}-{layer.arch}"
            self._add_files(files, layer.key)
            self.library_images[image] = LibraryImage(image, files, layer.request.foreign)

    def _add_build_host(self, cell: Cell, arch: str) -> None:
        """Add the base and the unpackers of a build host of `arch`."""
        keys, machine = os_sets(cell, arch), docker_arch(arch)
        base = self.lock.sets[keys.base]
        image, is_bootstrapped = base_image(keys.base, base), base.diff_id is not None
        stage = BaseStage(keys.base, f"base-{machine}", machine, image, is_bootstrapped)
        self.bases[keys.base] = stage
        if keys.unpackers:
            self._add_files(f"{_UNPACKERS}{machine}", keys.unpackers)

    def _add_toolkit(self, cell: Cell) -> None:
        arch = cell.arch
        target = TARGETS[arch]
        self._add_part(cell, "runtime", arch, self.matrix.components_of(cell, "runtime"))
        components = self.matrix.components_of(cell, "devel")
        self._add_part(cell, "devel", arch, components)
        if target.is_native:
            self._add_part(cell, "tools", arch, components)
        if cell.is_crossed:
            self._add_part(cell, "tools", CROSS_HOST, components)
        if self.matrix.cuda_compat:
            self._add_part(cell, "compat", arch, (COMPAT,))
        if cell.cudnn:
            self._add_cudnn(cell)

    def _tools_of(self, cell: Cell) -> str:
        """Return the stage of the tools that run on the cross host: a separate one for a target
        that is only cross-compiled, and where the host's own cell has CUDA from another source."""
        host, target = TARGETS[CROSS_HOST].key, TARGETS[cell.arch]
        if not target.is_native:
            return f"cuda-tools-{target.key}"
        of_host = (cell for cell in self.cells if cell.arch == CROSS_HOST)
        sets = {toolkit_set(each, "tools", CROSS_HOST) for each in (cell, *of_host)}
        return f"cuda-tools-{host}" + (f"-for-{target.key}" if len(sets) > 1 else "")

    def _cross_of(self, cell: Cell) -> Cross:
        """Return the cross image of a cell."""
        target = TARGETS[cell.arch]
        key = os_sets(cell, CROSS_HOST, target.name).cross
        files = self.lock.sets[key].artifacts if key else ()
        request = self.lock.sets[key].request if key else None
        own = [item for item in files if item.filename.endswith(f"_{target.machine}.deb")]
        return Cross(
            target,
            cell.toolchain.gcc,
            docker_arch(CROSS_HOST),
            self._tools_of(cell),
            foreign=request.foreign if isinstance(request, SystemRequest) else (),
            has_python=any(_PYTHON.fullmatch(item.name) for item in own),
        )

    def _add_files(self, stage: str, key: str) -> None:
        package_set = self.lock.sets[key]
        excerpts = package_set.excerpts or ()
        self.files[stage] = FileStage(key, stage, package_set.artifacts, excerpts)

    def _add_part(self, cell: Cell, part: str, arch: str, components: tuple[str, ...]) -> None:
        key, target = toolkit_set(cell, part, arch), TARGETS[arch].cuda
        is_tools = part == "tools" and arch == CROSS_HOST
        stage = self._tools_of(cell) if is_tools else f"cuda-{part}-{TARGETS[arch].key}"
        files = stage.replace(f"cuda-{part}", f"cuda-{part}-files", 1)
        self._add_files(files, key)
        tree = self._tree(cell, stage, key, files)
        if part == "runtime":
            links = {
                "/usr/local/cuda": tree.root.rsplit("/", 1)[-1],
                "lib64": f"targets/{target}/lib",
                "lib": "lib64",
            }
            tree = replace(tree, links=tuple(links.items()))
        elif part == "devel":
            texts = self._texts(cell, arch)
            tree = replace(
                tree,
                links=(("include", f"targets/{target}/include"),),
                library_directory=texts.locate("/usr/{triplet}/lib"),
                pkgconfig_directory=texts.locate("/usr/lib/{triplet}/pkgconfig"),
            )
        recipes = self.recipes.of(cell.toolchain.cuda.source, components, part)
        self._add_tree(tree, recipes, cell, arch)

    def _add_cudnn(self, cell: Cell) -> None:
        key, name = cudnn_set(cell, cell.arch), TARGETS[cell.arch].key
        files = f"cudnn-files-{name}"
        self._add_files(files, key)
        recipes = self.recipes.of_cudnn(str(cell.toolchain.cudnn_source), str(cell.cudnn))
        start = key.removesuffix(f"-{name}")
        for part in ("runtime", "devel"):
            stage = f"cudnn-{part}-{name}"
            tree = self._tree(cell, stage, f"{start}-{part}-{name}", files)
            self._add_tree(tree, (recipes[part],), cell, cell.arch)

    def _tree(self, cell: Cell, stage: str, script: str, files: str) -> Tree:
        script = f"{script}.{self._family.installer}.sh"
        return Tree(stage, script, files, f"/usr/local/cuda-{cell.cuda}")

    def _add_tree(self, tree: Tree, recipes: tuple[Recipe, ...], cell: Cell, arch: str) -> None:
        """Add a tree with what recipes make of its files, unless the environment before has it."""
        assembled = self.trees_before.get(tree)
        if assembled is None:
            filenames = {item.name: item.filename for item in self.files[tree.files].artifacts}
            assembled = assemble(tree, recipes, filenames, self._texts(cell, arch))
        self.assembled[tree] = self.trees[tree.stage] = assembled

    def _texts(self, cell: Cell, arch: str) -> RecipeTexts:
        row = TARGETS[arch]
        own = {"target": str(row.cuda), "triplet": row.triplet, "processor": row.processor}
        return RecipeTexts({**words_of(cell, self.recipes), **own}, self._family.directories)
