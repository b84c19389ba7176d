"""Environments: the images of the cells that differ in architecture only. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from envmatrix.lock.model import Artifact, Lock, Request
from envmatrix.lock.requests import OsSets, cudnn_set, os_sets, toolkit_set, words_of
from envmatrix.matrix.cells import docker_arch, sort_key
from envmatrix.matrix.model import ANALYSIS, COMPAT, Matrix, PlannedCell
from envmatrix.matrix.systems import Compiler
from envmatrix.matrix.targets import CROSS_HOST, TARGETS
from envmatrix.plan.crosses import Cross
from envmatrix.plan.images import Image
from envmatrix.plan.trees import Tree, dropped, unpackings, with_links

if TYPE_CHECKING:
    from envmatrix.lock.components import Recipe, Recipes

# The package with what Python says of itself, in which a foreign one differs from the host's.
_PYTHON = re.compile(r"libpython3\.\d+-minimal")

# ADD steps of one stage; BuildKit stops at about 120 layers.
_ADDS_PER_STAGE = 100


@dataclass(frozen=True, slots=True)
class FileStage:
    """A stage that holds `artifacts` and nothing else; the builder puts its own store there."""

    stage: str
    artifacts: tuple[Artifact, ...]

    @property
    def groups(self) -> tuple[tuple[Artifact, ...], ...]:
        size = _ADDS_PER_STAGE
        rows = self.artifacts
        return tuple(rows[start : start + size] for start in range(0, len(rows), size))


@dataclass(frozen=True, slots=True)
class Base:
    """A base: its set in the lock, and its name in the engine's store, or that of an image by
    digest."""

    key: str
    stage: str
    arch: str
    image: str
    is_bootstrapped: bool


@dataclass(frozen=True, slots=True)
class Environment:
    """All that the Dockerfile of one environment says, decided. `arches` are those of its servers,
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
    sm: tuple[str, ...]
    epoch: int
    arches: tuple[str, ...]
    bases: tuple[Base, ...]
    files: tuple[FileStage, ...]
    trees: tuple[Tree, ...]
    crosses: tuple[Cross, ...]
    images: tuple[Image, ...]
    has_analysis: bool = False

    @property
    def is_on_image(self) -> bool:
        """Whether a base is an image of somebody else, which has what others put there."""
        return not all(base.is_bootstrapped for base in self.bases)


def base_image(key: str, request: Request, diff_id: str | None) -> str:
    """The image of the base locked under `key` (`debian12-amd64-base`): one by digest, or the
    local name of a bootstrapped one."""
    if request.resolver == "image" or diff_id is None:
        return request.packages[0]
    return f"envmatrix/base:{key.removesuffix('-base')}-{diff_id.removeprefix('sha256:')[:12]}"


def environments(
    matrix: Matrix, lock: Lock, recipes: Recipes, cells: Iterable[PlannedCell]
) -> tuple[Environment, ...]:
    """One for each environment that `cells` touch, each with all its architectures."""
    wanted = {cell.cell.environment for cell in cells}
    ordered = sorted(matrix.cells, key=lambda cell: sort_key(cell.cell))
    known = _Known(matrix, lock, recipes)
    return tuple(
        _environment(name, tuple(group), known)
        for name, group in groupby(ordered, key=lambda cell: cell.cell.environment)
        if name in wanted
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What environments are planned from, and the trees that they share, each made once."""

    matrix: Matrix
    lock: Lock
    recipes: Recipes
    trees: dict[tuple[str, str, str], Tree] = field(default_factory=dict)


def _environment(name: str, cells: tuple[PlannedCell, ...], known: _Known) -> Environment:
    first = cells[0]
    targets = {cell.cell.arch: TARGETS[cell.cell.arch] for cell in cells}
    crossed = [cell for cell in cells if cell.is_crossed]
    stages = _Stages(known, next((it for it in cells if it.cell.arch == CROSS_HOST), None))
    for cell in cells:
        if targets[cell.cell.arch].machine:
            stages.add_os(cell, cell.cell.arch)
        if targets[cell.cell.arch].cuda and not cell.toolchain.cuda.image:
            stages.add_toolkit(cell)
    for cell in crossed:
        stages.add_os(cell, CROSS_HOST, target=cell.cell.arch)
    if not crossed and not first.toolchain.cuda.image:
        stages.add_build_host(first, CROSS_HOST)
    arches = tuple(sorted({str(its.machine) for its in targets.values() if its.is_native}))
    crosses = tuple(
        stages.cross_of(cell)
        for cell in sorted(crossed, key=lambda cell: [*TARGETS].index(cell.cell.arch))
    )
    flavours = (*_NATIVE, *([ANALYSIS] if known.matrix.has_analysis(first) else []))
    return Environment(
        name=name,
        os=first.cell.os,
        cuda=first.cell.cuda,
        cudnn=first.cell.cudnn,
        requirement=_requirement(first.cell.cuda, known.matrix.require_cuda),
        compat=known.matrix.cuda_compat,
        gcc=first.toolchain.gcc,
        compiler=known.matrix.facts.compiler(first.cell.os, first.toolchain.gcc),
        installer=known.matrix.facts.os[first.cell.os].family.installer,
        sm=first.toolchain.sm,
        epoch=known.lock.epoch,
        arches=arches,
        bases=tuple(stages.bases.values()),
        files=tuple(stages.files.values()),
        trees=tuple(stages.trees.values()),
        crosses=crosses,
        images=(
            *(Image(name, flavour, arch) for flavour in flavours for arch in arches),
            *(image for cross in crosses for image in _images(name, cross)),
        ),
        has_analysis=len(flavours) > len(_NATIVE),
    )


# The flavours of every environment that has an image for a machine of its own.
_NATIVE = ("runtime", "devel")


def _requirement(cuda: str, policy: str) -> str | None:
    """NVIDIA_REQUIRE_CUDA: the CUDA that the driver has to know, or None."""
    major, minor = cuda.split(".")[:2]
    return {"major": f"cuda>={major}.0", "release": f"cuda>={major}.{minor}"}.get(policy)


def _images(environment: str, cross: Cross) -> Iterator[Image]:
    yield Image(environment, cross.name, cross.host)
    if cross.runtime:
        yield Image(environment, cross.runtime, str(cross.target.machine))


class _Stages:
    """Collects the stages of one environment; a stage asked for twice is one."""

    def __init__(self, known: _Known, of_host: PlannedCell | None) -> None:
        self._host_tools = toolkit_set(of_host, "tools", CROSS_HOST) if of_host else None
        self._matrix = known.matrix
        self._lock = known.lock
        self._recipes = known.recipes
        self._known_trees = known.trees
        self.bases: dict[str, Base] = {}
        self.files: dict[str, FileStage] = {}
        self.trees: dict[str, Tree] = {}

    def add_os(self, cell: PlannedCell, arch: str, target: str | None = None) -> None:
        keys = os_sets(cell, arch, target)
        self.add_build_host(cell, arch)
        machine = docker_arch(arch)
        self._add_files(f"runtime-files-{machine}", keys.runtime)
        row = TARGETS[target or arch]
        if target or row.is_native:
            self._add_files(f"devel-files-{machine}", keys.devel)
            if self._matrix.has_analysis(cell):
                self._add_files(f"analysis-files-{machine}", keys.analysis)
        if keys.cross:
            self._add_files(f"cross{row.suffix}-files", keys.cross)
        if keys.emulator:
            self._add_files(f"runtime{row.suffix}-files", keys.emulator)

    def add_build_host(self, cell: PlannedCell, arch: str) -> None:
        """What unpacks files on a build host of `arch`."""
        keys = os_sets(cell, arch)
        self._add_base(keys, docker_arch(arch))
        if keys.unpackers:
            self._add_files(f"unpacker-files-{docker_arch(arch)}", keys.unpackers)

    def add_toolkit(self, cell: PlannedCell) -> None:
        arch = cell.cell.arch
        target = TARGETS[arch]
        self._add_part(cell, "runtime", arch, self._matrix.components_of(cell, "runtime"))
        components = self._matrix.components_of(cell, "devel")
        self._add_part(cell, "devel", arch, components)
        if target.is_native:
            self._add_part(cell, "tools", arch, components)
        if cell.is_crossed:
            self._add_part(cell, "tools", CROSS_HOST, components)
        if self._matrix.cuda_compat:
            self._add_part(cell, "compat", arch, (COMPAT,))
        if cell.cell.cudnn:
            self._add_cudnn(cell)

    def tools_of(self, cell: PlannedCell) -> str:
        """The stage of what runs on the cross host: one of its own for a target that only that
        compiles for, and where the host's own cell has its CUDA from elsewhere."""
        host, target = TARGETS[CROSS_HOST].key, TARGETS[cell.cell.arch]
        if not target.is_native:
            return f"cuda-tools-{target.key}"
        of_host, own = self._host_tools, toolkit_set(cell, "tools", CROSS_HOST)
        return f"cuda-tools-{host}" + (f"-for-{target.key}" if of_host not in (None, own) else "")

    def cross_of(self, cell: PlannedCell) -> Cross:
        """Return what the cross image of a cell is, with what its packages bring."""
        target = TARGETS[cell.cell.arch]
        key = os_sets(cell, CROSS_HOST, target.name).cross
        files = self._lock.sets[key].artifacts if key else ()
        own = [its for its in files if its.filename.endswith(f"_{target.machine}.deb")]
        return Cross(
            target,
            cell.toolchain.gcc,
            docker_arch(CROSS_HOST),
            self.tools_of(cell),
            foreign=self._lock.sets[key].request.foreign if key else (),
            has_python=any(_PYTHON.fullmatch(its.name) for its in own),
        )

    def _add_base(self, keys: OsSets, arch: str) -> None:
        locked = self._lock.sets[keys.base]
        image = base_image(keys.base, locked.request, locked.diff_id)
        is_bootstrapped = locked.request.resolver == "bootstrap"
        self.bases[keys.base] = Base(keys.base, f"base-{arch}", arch, image, is_bootstrapped)

    def _add_files(self, stage: str, key: str) -> None:
        self.files[stage] = FileStage(stage, self._lock.sets[key].artifacts)

    def _add_part(
        self, cell: PlannedCell, part: str, arch: str, components: tuple[str, ...]
    ) -> None:
        key = toolkit_set(cell, part, arch)
        is_tools = part == "tools" and arch == CROSS_HOST
        stage = self.tools_of(cell) if is_tools else f"cuda-{part}-{TARGETS[arch].key}"
        self._add_files(f"{stage}-files", key)
        recipes = self._recipes.of(cell.toolchain.cuda.source, components, part)
        tree = self._tree(stage, f"{stage}-files", key, cell, arch, recipes)
        root, target = tree.root, TARGETS[arch].cuda
        if part == "runtime":
            root_link = {
                "/usr/local/cuda": root.rsplit("/", 1)[-1],
                "lib64": f"targets/{target}/lib",
            }
            tree = with_links(tree, root_link | {"lib": "lib64"})
        elif part == "devel":
            tree = with_links(tree, {"include": f"targets/{target}/include"})
            located = self._located(cell, self._words(cell, arch))
            tree = replace(
                tree,
                searched=located("/usr/{triplet}/lib"),
                described=located("/usr/lib/{triplet}/pkgconfig"),
            )
        self.trees[stage] = tree

    def _add_cudnn(self, cell: PlannedCell) -> None:
        arch, key = cell.cell.arch, cudnn_set(cell, cell.cell.arch)
        name = TARGETS[arch].key
        files = f"cudnn-{name}-files"
        self._add_files(files, key)
        known = self._recipes.of_cudnn(str(cell.toolchain.cudnn_source), str(cell.cell.cudnn))
        for part in ("runtime", "devel"):
            stage = f"cudnn-{part}-{name}"
            self.trees[stage] = self._tree(stage, files, key, cell, arch, (known[part],))

    def _words(self, cell: PlannedCell, arch: str) -> Mapping[str, str]:
        row = TARGETS[arch]
        own = {"target": str(row.cuda), "triplet": row.triplet, "processor": row.processor}
        return {**words_of(cell, self._recipes), **own}

    def _located(self, cell: PlannedCell, words: Mapping[str, str]) -> Callable[[str], str]:
        """Where the system's own compilers look for what is in a directory of Debian's."""
        directories = self._matrix.facts.os[cell.cell.os].family.directories

        def located(text: str) -> str:
            for of_debian, own in directories.items():
                if text.startswith(of_debian):
                    text = own + text.removeprefix(of_debian)
            return text.format_map(words)

        return located

    def _tree(
        self,
        stage: str,
        files: str,
        key: str,
        cell: PlannedCell,
        arch: str,
        recipes: tuple[Recipe, ...],
    ) -> Tree:
        root = f"/usr/local/cuda-{cell.cell.cuda}"
        family = self._matrix.facts.os[cell.cell.os].family
        of_all = (stage, key, f"{family.installer} {root}")
        if known := self._known_trees.get(of_all):
            return known
        words = self._words(cell, arch)
        located = self._located(cell, words)
        named = {item.name: item.filename for item in self._lock.sets[key].artifacts}
        return self._known_trees.setdefault(
            of_all,
            Tree(
                stage=stage,
                files=files,
                root=root,
                unpackings=unpackings(recipes, named, words, located),
                drop=tuple(text.format_map(words) for text in dropped(recipes)),
                links=tuple(
                    (located(link), to.format_map(words))
                    for recipe in recipes
                    for link, to in recipe.links.items()
                ),
                profile=any(recipe.profile.format_map(words) for recipe in recipes),
                target=words["target"],
                stubs=tuple(stub for recipe in recipes for stub in recipe.stubs),
            ),
        )
