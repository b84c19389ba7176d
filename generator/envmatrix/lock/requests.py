"""Which package sets the cells of a matrix need, and what each set asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from envmatrix.lock.components import Recipe, Recipes
from envmatrix.lock.model import Lock, Request
from envmatrix.lock.sources import SOURCES
from envmatrix.matrix.cells import docker_arch
from envmatrix.matrix.model import Matrix, PlannedCell
from envmatrix.matrix.targets import TARGETS

# The architecture whose machines cross-compile for the others.
CROSS_HOST = "x86_64"

# Always in a base, whatever is built on it.
_BASE_PACKAGES = ("?essential", "apt")
# What unpacks wheels and archives on the build host; .deb files need nothing that a base has not.
_UNPACKERS = ("unzip", "xz-utils")


@dataclass(frozen=True, slots=True)
class OsSets:
    """Keys of the package sets of one OS, architecture and host compiler. `cross` and `emulator`
    are what a target adds to them, where it adds anything."""

    base: str
    unpackers: str
    runtime: str
    devel: str
    cross: str | None
    emulator: str | None


def is_crossed(arch: str) -> bool:
    return TARGETS[arch].crossed != "no"


def components_of(cell: PlannedCell, matrix: Matrix, flavour: str) -> tuple[str, ...]:
    """What a flavour and the libraries ask for, and what that needs."""
    asked = [name for step in matrix.lineage(flavour) for name in step.components]
    asked += [name for library in matrix.libraries for name in library.components]
    return matrix.facts.with_needs(asked, cell.cell.cuda)


def os_sets(os: str, arch: str, gcc: str, target: str | None = None) -> OsSets:
    start = f"{os}-{docker_arch(arch)}"
    row = TARGETS[target or arch]
    packages = row.packages
    # Targets whose cross compilers are those of envs/ differ in the machine only.
    name = row.key if "cross" in packages else row.machine
    has_cross = target is not None and packages.get("cross", True)
    return OsSets(
        base=f"{start}-base",
        unpackers=f"{start}-unpackers",
        runtime=f"{start}-runtime",
        devel=f"{start}-devel-gcc{gcc}",
        cross=f"{start}-cross-gcc{gcc}-{name}" if has_cross else None,
        emulator=f"{start}-runtime-{row.key}" if "runtime" in packages else None,
    )


def toolkit_set(cell: PlannedCell, part: str, arch: str) -> str:
    origin = cell.toolchain.cuda
    suite = f"-{origin.suite}" if SOURCES[origin.source].names_suite else ""
    return f"cuda{cell.cell.cuda}-{origin.source}{suite}-{part}-{TARGETS[arch].key}"


def cudnn_set(cell: PlannedCell, arch: str) -> str:
    source, major = cell.toolchain.cudnn_source, cell.cell.cuda.split(".")[0]
    return f"cudnn{cell.cell.cudnn}-{source}-cuda{major}-{TARGETS[arch].key}"


def words_of(cell: PlannedCell, recipes: Recipes) -> Mapping[str, str]:
    """What the `{words}` of recipes and flavours mean for this cell's release."""
    release = cell.cell.cuda
    known = recipes.words_of(cell.toolchain.cuda.source, release)
    cudnn_major = (cell.cell.cudnn or "").split(".")[0]
    major = release.split(".")[0]
    return {
        "release": release,
        "dashed": release.replace(".", "-"),
        "major": major,
        "cudnn_major": cudnn_major,
        **known,
    }


def requests_of(cell: PlannedCell, matrix: Matrix, recipes: Recipes) -> dict[str, Request]:
    """Every set that the images of `cell` are made of, in an order that resolves."""
    arch = cell.cell.arch
    target = TARGETS[arch]
    requests = _os_requests(cell, matrix, arch) if target.machine else {}
    if is_crossed(arch):
        requests |= _os_requests(cell, matrix, CROSS_HOST, target=arch)
    if target.cuda:
        requests |= _toolkit_requests(cell, matrix, recipes)
    if cell.cell.cudnn:
        requests[cudnn_set(cell, arch)] = _cudnn_request(cell, recipes)
    return requests


def all_requests(
    matrix: Matrix, recipes: Recipes
) -> tuple[dict[str, Request], dict[str, tuple[str, ...]]]:
    """The sets of the whole matrix, and the keys each cell uses."""
    requests: dict[str, Request] = {}
    cells: dict[str, tuple[str, ...]] = {}
    for cell in matrix.cells:
        own = requests_of(cell, matrix, recipes)
        requests |= own
        cells[cell.cell.id] = tuple(sorted(own))
    return requests, cells


def drift(lock: Lock, matrix: Matrix, recipes: Recipes) -> tuple[str, ...]:
    """In words, where `lock` no longer answers what `matrix` asks; empty where it does."""
    requests, cells = all_requests(matrix, recipes)
    found = [f"`{key}` is not locked" for key in requests.keys() - lock.sets.keys()]
    found += [f"`{key}` is no longer used" for key in lock.sets.keys() - requests.keys()]
    found += [
        f"`{key}` asks for {_words(request)}, the lock answers {_words(lock.sets[key].request)}"
        for key, request in requests.items()
        if key in lock.sets and lock.sets[key].request != request
    ]
    found += [
        f"cell `{cell}` changed"
        for cell in cells.keys() | lock.cells.keys()
        if cells.get(cell) != lock.cells.get(cell)
    ]
    return tuple(sorted(found))


def _words(request: Request) -> str:
    return " ".join(filter(None, (request.resolver, request.suite, *request.packages)))


def _os_requests(
    cell: PlannedCell, matrix: Matrix, arch: str, target: str | None = None
) -> dict[str, Request]:
    suite = matrix.facts.os[cell.cell.os].suite
    gcc = cell.toolchain.gcc
    keys = os_sets(cell.cell.os, arch, gcc, target)
    own = TARGETS[target or arch].packages

    def apt(packages: Iterable[str], *below: str) -> Request:
        return Request("apt", docker_arch(arch), tuple(sorted(packages)), suite, below)

    def flavour(name: str, *below: str) -> Request:
        packages = matrix.flavours[name].packages_for(gcc=gcc, arch=target or arch)
        return apt(packages, *below)

    requests = {
        keys.base: _base_request(cell, matrix, docker_arch(arch)),
        keys.unpackers: apt(_UNPACKERS, keys.base),
        keys.runtime: flavour("runtime", keys.base),
    }
    if keys.emulator:
        requests[keys.emulator] = apt(own["runtime"], keys.base, keys.runtime)
    if target or TARGETS[arch].is_native:
        requests[keys.devel] = flavour("devel", keys.base, keys.runtime)
    if keys.cross:
        below = (keys.base, keys.runtime, keys.devel)
        requests[keys.cross] = (
            apt(own["cross"], *below) if "cross" in own else flavour("cross", *below)
        )
    return requests


def _base_request(cell: PlannedCell, matrix: Matrix, arch: str) -> Request:
    suite = matrix.facts.os[cell.cell.os].suite
    image = matrix.bases.get(cell.cell.os)
    if image:
        return Request("image", arch, (image,), suite)
    return Request("bootstrap", arch, _BASE_PACKAGES, suite)


def _toolkit_requests(cell: PlannedCell, matrix: Matrix, recipes: Recipes) -> dict[str, Request]:
    arch = cell.cell.arch
    wanted = [("runtime", arch), ("devel", arch)]
    wanted += [("tools", arch)] if TARGETS[arch].is_native else []
    wanted += [("tools", CROSS_HOST)] if is_crossed(arch) else []
    return {
        toolkit_set(cell, part, machine): _toolkit_request(cell, matrix, recipes, part, machine)
        for part, machine in wanted
    }


def _toolkit_request(
    cell: PlannedCell, matrix: Matrix, recipes: Recipes, part: str, arch: str
) -> Request:
    origin = cell.toolchain.cuda
    source = SOURCES[origin.source]
    components = components_of(cell, matrix, "runtime" if part == "runtime" else "devel")
    names = _packages(recipes.of(origin.source, components, part), words_of(cell, recipes))
    wanted = tuple(source.package(name, cell.cell.cuda) for name in names)
    suite = origin.suite if source.has_suite else None
    return Request(source.resolver, TARGETS[arch].key, wanted, suite)


def _cudnn_request(cell: PlannedCell, recipes: Recipes) -> Request:
    name = str(cell.toolchain.cudnn_source)
    source = SOURCES[name]
    assert source.cudnn is not None  # noqa: S101 -- only such a source is a cell's cuDNN source
    names = _packages(recipes.of(name, ("cudnn",), "runtime"), words_of(cell, recipes))
    version, major = str(cell.cell.cudnn), cell.cell.cuda.split(".")[0]
    wanted = tuple(source.cudnn(package, version, major) for package in names)
    return Request(source.resolver, TARGETS[cell.cell.arch].key, wanted)


def _packages(recipes: Iterable[Recipe], words: Mapping[str, str]) -> tuple[str, ...]:
    return _filled((name for recipe in recipes for name in recipe.take), words)


def _filled(texts: Iterable[str], words: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({text.format_map(words) for text in texts}))
