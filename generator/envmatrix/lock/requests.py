"""Package sets that the cells of a matrix need, and the request for each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from envmatrix.errors import ConfigurationError, OutOfDate, Problem
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.systems import OperatingSystem
from envmatrix.facts.targets import CROSS_HOST, TARGETS, docker_arch, package_triplet
from envmatrix.lock.lock_file import FILE
from envmatrix.lock.model import (
    LIBRARY,
    BootstrapRequest,
    ImageRequest,
    InImageRequest,
    Lock,
    ReleaseRequest,
    RepositoryRequest,
    Request,
    SourceRequest,
    SystemRequest,
    WheelsRequest,
    archive_set,
    describe,
    source_set,
    wheels_set,
)
from envmatrix.matrix.cells import Cell, CudaSource, gil_release
from envmatrix.matrix.compiler_sources import compiler_archives
from envmatrix.matrix.files import MATRIX
from envmatrix.matrix.library import Library, LibrarySource
from envmatrix.matrix.model import ANALYSIS, COMPAT, DEV, Matrix
from envmatrix.matrix.selection import is_for
from envmatrix.records import dataclass
from envmatrix.text import leading_lines

if TYPE_CHECKING:
    from envmatrix.facts.recipes import Recipe, Recipes

# The resolver of CUDA's packages from each source; `image` has components instead.
CUDA_RESOLVERS = {
    "debian": "apt-files",
    "pypi": "pip",
    "redist": "redist",
    "nvidia-apt": "nvidia-apt",
    "nvidia-dnf": "nvidia-dnf",
    "nvidia-cross": "nvidia-apt",
}
# Sources with a repository for each suite, so that sets of several suites are of one release.
_OF_SUITES = frozenset({"nvidia-apt", "nvidia-dnf", "nvidia-cross"})

# The parts of a CUDA release, each a set.
_PARTS = ("runtime", "devel", "tools", COMPAT)

# In every base that is bootstrapped, whatever is built on it.
_BASE_PACKAGES = (PackageSpec("?essential"), PackageSpec("apt"))
# Of an image's digest, in the keys of the sets over it.
_DIGEST_DIGITS = 12
# The dots of a version of cuDNN that names its build: 9.1.0.70.
_WHOLE_CUDNN = 3
# The libraries of Clang's sanitizers, and the first major with a package for them.
_SANITIZERS_OF_CLANG, _CLANG_WITH_OWN_SANITIZERS = "libclang-rt-{}-dev", 14
# With which Python has the modules bz2, ctypes, lzma, sqlite3, ssl and zlib.
_PYTHON_HEADERS = (
    "libbz2-dev",
    "libffi-dev",
    "liblzma-dev",
    "libsqlite3-dev",
    "libssl-dev",
    "zlib1g-dev",
)
# More differences between a lock and its matrix are counted, not listed.
_MOST_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class OsSets:
    """Keys of the package sets of one OS, architecture and host compiler, which begin with
    `prefix`. `unpackers` is None if CUDA is in an image. `cross` and `emulator` are the additional
    sets of a target, if any, `extensions` those of the optional flavours over `devel`. `compiler`
    has the packages of a compiler other than the default one, over `devel` or `cross`, `python`
    those with which another Python is loaded, over `runtime`."""

    prefix: str
    base: str
    unpackers: str | None
    runtime: str
    devel: str
    cross: str | None
    emulator: str | None
    extensions: Mapping[str, str]
    compiler: str | None = None
    python: str | None = None

    def below_library(self, flavour: str) -> tuple[str, ...]:
        """Return the keys of the sets below the packages of a library in images of a flavour, the
        base first."""
        if flavour.startswith("runtime"):
            above = [None if flavour == "runtime" else self.emulator]
        else:
            cross = self.cross if flavour.startswith("cross") else None
            extension = self.extensions.get(flavour.partition("-")[0])
            above = [self.devel, cross, self.compiler, extension]
        return (self.base, self.runtime, *filter(None, (*above, self.python)))


@dataclass(frozen=True, slots=True)
class PythonSets:
    """Keys of what the Python of a cell is compiled from, if it is not that of the operating
    system: its source, the packages of the build host over its base, and of the `target` over
    these, if it is another machine."""

    source: str
    build: str
    target: str | None


def python_sets(cell: Cell) -> PythonSets | None:
    if cell.python is None:
        return None
    build = f"{os_sets(cell, CROSS_HOST).prefix}-python-build"
    target = None if cell.arch == CROSS_HOST else f"{build}-{docker_arch(cell.arch)}"
    return PythonSets(f"python{gil_release(cell.python)}-source", build, target)


def library_set(library: str, cell: Cell, flavour: str, keys: OsSets) -> str:
    """Return the key of the packages of a library, by its name, over an image of a cell."""
    name = flavour.removesuffix(f"-py{cell.python}").removesuffix(f"-{cell.compilers}")
    below = replace(keys, python=None).below_library(flavour)[-1]
    suffix = "" if f"-{name}" in below else f"-{name}"
    if name in keys.extensions and cell.compiler:
        suffix = f"-{cell.host_compiler.word}"
    python = "-python" if keys.python else ""
    return f"{LIBRARY}{library}+packages-{below}{suffix}{python}"


def os_sets(cell: Cell, arch: str, target: str | None = None) -> OsSets:
    gcc, image = cell.toolchain.gcc, cell.toolchain.cuda.image
    # An image with CUDA may be used beside other bases.
    digest = (image or "").rpartition("sha256:")[2][:_DIGEST_DIGITS]
    start = "-".join(filter(None, (cell.os, docker_arch(arch), digest)))
    row = TARGETS[target or arch]
    packages = row.packages
    # Targets whose cross compilers are those of envs/ differ in the machine only.
    name = row.key if "cross" in packages else row.machine
    has_cross = target is not None and packages.get("cross", True)
    devel, cross = f"{start}-devel-gcc{gcc}", f"{start}-cross-gcc{gcc}-{name}"
    compiler = f"{cross if has_cross else devel}-{cell.host_compiler.word}"
    return OsSets(
        prefix=start,
        base=f"{start}-base",
        unpackers=None if image else f"{start}-unpackers",
        runtime=f"{start}-runtime",
        devel=devel,
        cross=cross if has_cross else None,
        emulator=f"{start}-runtime-{row.key}" if "runtime" in packages else None,
        extensions={name: f"{start}-{name}-gcc{gcc}" for name in (ANALYSIS, DEV)},
        compiler=compiler if cell.compiler else None,
        python=f"{start}-runtime-python" if cell.python else None,
    )


@dataclass(frozen=True, slots=True)
class LibraryLayer:
    """The system packages of a library over the image of a `flavour` for `arch` (Docker's name):
    the `key` of their set in the lock, and its request."""

    flavour: str
    arch: str
    key: str
    request: SystemRequest


def library_layers(library: Library, cell: Cell, matrix: Matrix) -> Iterator[LibraryLayer]:
    """Yield the layers of a library over the images of a cell."""
    if not (library.packages and is_for(library, cell, matrix)):
        return
    os, target = matrix.facts.os[cell.os], TARGETS[cell.arch]
    places: list[tuple[str, str]] = []
    if target.machine:
        places.append((cell.flavour(f"runtime{target.suffix}"), cell.arch))
    if target.is_native:
        extensions = () if cell.python else matrix.extensions(cell)
        flavours = map(cell.flavour, ("devel", *extensions))
        places += [(flavour, cell.arch) for flavour in flavours]
    if cell.is_crossed:
        places.append((cell.flavour(f"cross{target.suffix}"), CROSS_HOST))
    words = _flavour_words(cell, matrix, cell.arch)
    for flavour, arch in places:
        keys = os_sets(cell, arch, cell.arch if flavour.startswith("cross") else None)
        if names := matrix.library_packages(library, cell, flavour):
            key = library_set(library.declared_name, cell, flavour, keys)
            packages = (name.format_map(words) for name in names)
            request = _os_request(os, arch, packages, *keys.below_library(flavour))
            yield LibraryLayer(flavour, docker_arch(arch), key, request)


def toolkit_set(cell: Cell, part: str, arch: str) -> str:
    origin = cell.toolchain.cuda
    suite = f"-{origin.suite}" if origin.source in _OF_SUITES else ""
    return f"cuda{cell.cuda}-{origin.source}{suite}-{part}-{TARGETS[arch].key}"


def cudnn_set(cell: Cell, arch: str) -> str:
    source, major = str(cell.toolchain.cudnn_source), cell.cuda.split(".")[0]
    suite = f"-{cell.toolchain.cuda.suite}" if source in _OF_SUITES else ""
    return f"cudnn{cell.cudnn}-{source}{suite}-cuda{major}-{TARGETS[arch].key}"


def cuda_sets(cell: Cell) -> Iterator[str]:
    """Yield the keys of all sets with CUDA and cuDNN that the images of a cell may have."""
    for arch in dict.fromkeys((cell.arch, CROSS_HOST)):
        yield from (toolkit_set(cell, part, arch) for part in _PARTS)
    if cell.cudnn:
        yield cudnn_set(cell, cell.arch)


def words_of(cell: Cell, recipes: Recipes) -> Mapping[str, str]:
    """Return the values of the `{words}` of recipes and flavours for this cell's release."""
    release = cell.cuda
    recipe_words = recipes.words_of(cell.toolchain.cuda.source, release)
    cudnn = cell.cudnn or ""
    major, minor = release.split(".")[:2]
    return {
        "release": release,
        "dashed": f"{major}-{minor}",
        "major": major,
        "cross": TARGETS[cell.arch].cross,
        "cudnn": cudnn,
        "cudnn_major": cudnn.split(".")[0],
        "cudnn_pin": f"{cudnn}-1" if cudnn.count(".") == _WHOLE_CUDNN else f"{cudnn}.*",
        **recipe_words,
    }


def requests_of(cell: Cell, matrix: Matrix, recipes: Recipes) -> dict[str, Request]:
    """Return the requests for all sets in the images of `cell`, dependencies first."""
    requests = _system_requests(cell, matrix) | _cuda_requests(cell, matrix, recipes)
    return requests | _tool_requests(cell, matrix)


def _system_requests(cell: Cell, matrix: Matrix) -> dict[str, Request]:
    """Return the requests for the packages of a cell's system, with the default compiler."""
    arch = cell.arch
    requests = _os_requests(cell, matrix, arch) if TARGETS[arch].machine else {}
    if cell.is_crossed:
        requests |= _os_requests(cell, matrix, CROSS_HOST, target=arch)
    elif arch != CROSS_HOST and not cell.toolchain.cuda.image:
        requests |= _base_requests(cell, matrix, CROSS_HOST)
    return requests


def _cuda_requests(cell: Cell, matrix: Matrix, recipes: Recipes) -> dict[str, Request]:
    if cell.toolchain.cuda.image:
        return _image_requests(cell, matrix)
    has_cuda = TARGETS[cell.arch].cuda is not None
    requests = _toolkit_requests(cell, matrix, recipes) if has_cuda else {}
    if cell.cudnn:
        requests[cudnn_set(cell, cell.arch)] = _cudnn_request(cell, recipes)
    return requests


def sets_of(cells: Iterable[Cell], matrix: Matrix, recipes: Recipes) -> set[str]:
    """Return the keys of the sets in the images of some cells."""
    return {key for cell in cells for key in requests_of(cell, matrix, recipes)}


def cells_of_sets(matrix: Matrix, recipes: Recipes) -> Mapping[str, Sequence[Cell]]:
    """Return the cells whose images, or whose libraries, use each set."""
    cells: dict[str, list[Cell]] = {}
    for cell in matrix.cells:
        keys = {*requests_of(cell, matrix, recipes), *_library_requests(matrix, [cell])}
        for key in sorted(keys):
            cells.setdefault(key, []).append(cell)
    return cells


def all_requests(matrix: Matrix, recipes: Recipes) -> dict[str, Request]:
    """Return the requests of the whole matrix."""
    if problems := [*_missing_bases(matrix)]:
        raise ConfigurationError(*problems)
    requests: dict[str, Request] = {}
    parts: set[object] = set()  # of cells, whose requests are there
    for cell in matrix.cells:
        toolchain, plain = cell.toolchain, cell.with_default_tools
        system = (cell.os, cell.arch, toolchain.gcc, toolchain.cuda.image, cell.is_crossed)
        tools = (*system, cell.compiler, cell.python)
        if system not in parts:
            requests |= _system_requests(cell, matrix)
        if plain not in parts:
            requests |= _cuda_requests(cell, matrix, recipes)
        if tools not in parts:
            requests |= _tool_requests(cell, matrix)
        parts |= {system, plain, tools}
    return requests | _library_requests(matrix, matrix.cells)


def _library_requests(matrix: Matrix, cells: Sequence[Cell]) -> dict[str, Request]:
    """Return the requests for sources of libraries and for what they would download, which no image
    contains, and for the wheels and the system packages that they need on each system and machine
    of some cells."""
    requests: dict[str, Request] = {}
    for library in matrix.libraries:
        if library.source:
            requests[source_set(library)] = _source_request(library.source, matrix)
        for name, source in library.archives.items():
            requests[archive_set(library, name)] = _source_request(source, matrix)
        for cell in cells if library.requires else ():
            if is_for(library, cell, matrix):
                requests |= _wheel_requests(library, cell, matrix)
        for cell in cells if library.packages else ():
            layers = library_layers(library, cell, matrix)
            requests |= {layer.key: layer.request for layer in layers}
    return requests


def _source_request(source: LibrarySource, matrix: Matrix) -> SourceRequest:
    kind, pin = source.kind, source.pin
    if kind == "debian":
        kind, pin = "debian-source", matrix.facts.os[pin].suite
    return SourceRequest(kind, source.place, pin)


def _wheel_requests(library: Library, cell: Cell, matrix: Matrix) -> dict[str, Request]:
    os = matrix.facts.os[cell.os]
    arches = {TARGETS[cell.arch].machine, docker_arch(CROSS_HOST) if cell.is_crossed else None}
    requirements = tuple(sorted(set(library.requires)))
    omitted = tuple(sorted(set(library.image_provides)))
    return {
        wheels_set(library, cell, arch): WheelsRequest(
            arch, os.suite, requirements, omitted, cell.python or ""
        )
        for arch in sorted(filter(None, arches))
    }


def _missing_bases(matrix: Matrix) -> Iterator[Problem]:
    """Yield a problem for each system that cannot be bootstrapped and has no image as base."""
    for os in sorted({cell.os for cell in matrix.cells} - matrix.bases.keys()):
        if not matrix.facts.os[os].family.bootstrapped:
            position = next(cell.position for cell in matrix.cells if cell.os == os)
            yield Problem(
                f"`{os}` is not bootstrapped: it needs an image to stand on",
                position,
                f"name one by digest: `bases: {{{os}: name@sha256:...}}`",
            )


def drift(lock: Lock, matrix: Matrix, recipes: Recipes) -> tuple[str, ...]:
    """Describe where `lock` is out of date with `matrix`; empty if it is up to date."""
    requests = all_requests(matrix, recipes)
    missing = [f"`{key}` is not locked" for key in requests.keys() - lock.sets.keys()]
    changed = [
        f"`{key}` asks for {describe(request)}, the lock has {describe(lock.sets[key].request)}"
        for key, request in requests.items()
        if key in lock.sets and lock.sets[key].request != request
    ]
    unused = [f"`{key}` is no longer used" for key in lock.sets.keys() - requests.keys()]
    return (*sorted(missing + changed), *sorted(unused))


def require_current(lock: Lock, matrix: Matrix, recipes: Recipes) -> None:
    """Raise OutOfDate with the first differences if a lock is out of date with the matrix."""
    if differences := drift(lock, matrix, recipes):
        raise OutOfDate(
            f"`{FILE}` is out of date with `{MATRIX}`",
            details=leading_lines(differences, _MOST_DIFFERENCES),
            hint="bring it up to date: `envmatrix lock`",
        )


def _os_requests(
    cell: Cell, matrix: Matrix, arch: str, target: str | None = None
) -> dict[str, Request]:
    os, keys, destination = matrix.facts.os[cell.os], os_sets(cell, arch, target), target or arch
    own, words = TARGETS[destination].packages, _flavour_words(cell, matrix, destination)
    requests = _base_requests(cell, matrix, arch)

    def add(key: str, packages: Iterable[str], *below: str) -> None:
        requests[key] = _os_request(os, arch, packages, *below)

    def flavour(name: str) -> Iterable[str]:
        return matrix.flavours[name].packages_for(os, words)

    add(keys.runtime, flavour("runtime"), keys.base)
    if keys.emulator:
        add(keys.emulator, own["runtime"], keys.base, keys.runtime)
    if target or TARGETS[arch].is_native:
        add(keys.devel, flavour("devel"), keys.base, keys.runtime)
        for name in matrix.extensions(cell):
            add(keys.extensions[name], flavour(name), keys.base, keys.runtime, keys.devel)
    if keys.cross:
        names = own.get("cross") or matrix.packages_across(os, destination, words)
        add(keys.cross, names, keys.base, keys.runtime, keys.devel)
    return requests


def _tool_requests(cell: Cell, matrix: Matrix) -> dict[str, Request]:
    """Return the requests for compilers and a Python other than the default ones."""
    return _compiler_requests(cell, matrix) | _python_requests(cell, matrix)


def _compiler_requests(cell: Cell, matrix: Matrix) -> dict[str, Request]:
    """Return the requests for the packages of a compiler other than the default one."""
    os, target = matrix.facts.os[cell.os], TARGETS[cell.arch]
    places: list[tuple[str, str | None]] = [(cell.arch, None)] if target.is_native else []
    places += [(CROSS_HOST, cell.arch)] if cell.is_crossed else []
    requests: dict[str, Request] = {}
    for arch, across in places if cell.compiler else ():
        keys = os_sets(cell, arch, across)
        below = filter(None, (keys.base, keys.runtime, keys.devel, keys.cross))
        request = _os_request(os, arch, _compiler_packages(cell, matrix, across), *below)
        archives = compiler_archives(cell, matrix.sources, os.suite)
        requests[str(keys.compiler)] = replace(request, archives=archives)
    return requests


def _compiler_packages(cell: Cell, matrix: Matrix, target: str | None) -> Iterable[str]:
    """Return the packages of a cell's own compiler, also as the cross compiler for a target: of
    another GCC, those that its major gives other names in flavours."""
    os, host = matrix.facts.os[cell.os], cell.host_compiler
    if host.kind == "clang":
        package = matrix.facts.clang_compiler(cell.os, host.major).package
        has_sanitizer = any(library.variant.sanitizer for library in matrix.variants)
        has_sanitizer |= target is None and matrix.has_analysis(cell)
        is_split = has_sanitizer and int(host.major) >= _CLANG_WITH_OWN_SANITIZERS
        return (package, *([_SANITIZERS_OF_CLANG.format(host.major)] if is_split else ()))
    default, own = (
        _words(cell.os, gcc, matrix, target or cell.arch)
        for gcc in (cell.toolchain.gcc, host.major)
    )
    if target:
        across = (matrix.packages_across(os, target, words) for words in (own, default))
        packages, of_default = map(set, across)
        return packages - of_default
    devel = matrix.flavours["devel"]
    packages, of_default = ({*devel.packages_for(os, words)} for words in (own, default))
    return {own["compiler"], *(packages - of_default)}


def _python_requests(cell: Cell, matrix: Matrix) -> dict[str, Request]:
    """Return the requests for what a Python other than that of the operating system is compiled
    from, and loaded with."""
    keys, facts, os = python_sets(cell), matrix.facts, matrix.facts.os[cell.os]
    if keys is None or cell.python is None:
        return {}
    requests = _base_requests(cell, matrix, CROSS_HOST)
    source = facts.pythons[gil_release(cell.python)]
    requests[keys.source] = SourceRequest("debian-source", source.package, source.suite)
    base, gcc = os_sets(cell, CROSS_HOST).base, max(os.gcc, key=int)
    packages = [facts.compiler(cell.os, gcc).package, "make", "xz-utils", *_PYTHON_HEADERS]
    requests[keys.build] = _os_request(os, CROSS_HOST, packages, base)
    if keys.target:
        gcc, arch = os.newest_cross_gcc(cell.arch), docker_arch(cell.arch)
        packages = [f"g++-{gcc}-{package_triplet(cell.arch)}"]
        packages += [f"{name}:{arch}" for name in _PYTHON_HEADERS]
        requests[keys.target] = _os_request(os, CROSS_HOST, packages, base, keys.build)
    for arch in dict.fromkeys([cell.arch, *([CROSS_HOST] if cell.is_crossed else [])]):
        own = os_sets(cell, arch)
        libraries = _os_request(os, arch, os.python_libraries, own.base, own.runtime)
        requests[str(own.python)] = libraries
    return requests


def _flavour_words(cell: Cell, matrix: Matrix, target: str) -> Mapping[str, str]:
    """Return the values of the placeholders in flavours."""
    return _words(cell.os, cell.toolchain.gcc, matrix, target)


def _words(os: str, gcc: str, matrix: Matrix, target: str) -> Mapping[str, str]:
    compiler = matrix.facts.compiler(os, gcc).package
    return {"gcc": gcc, "triplet": package_triplet(target), "compiler": compiler}


def requesters_of(
    package: str, key: str, cell: Cell, matrix: Matrix, recipes: Recipes
) -> Iterator[str]:
    """Yield what asks for a package of a cell's set by its name: libraries, flavours and components
    of CUDA. Nothing else does in a set that every cell of a system has."""
    for library in matrix.libraries:
        layers = library_layers(library, cell, matrix)
        wheels = _wheel_requests(library, cell, matrix) if library.requires else {}
        if key in wheels or any(layer.key == key for layer in layers):
            yield f"library `{library.name}`"
    own, host = os_sets(cell, cell.arch), os_sets(cell, CROSS_HOST)
    if cell.python and key in _python_requests(cell, matrix).keys() - {own.base, host.base}:
        yield f"Python {cell.python}"
        return
    if key in (own.base, own.unpackers, host.base, host.unpackers):
        return
    if cell.compiler and key in (own.compiler, os_sets(cell, CROSS_HOST, cell.arch).compiler):
        yield f"compiler `{cell.compiler}`"
        return
    os, words = matrix.facts.os[cell.os], _flavour_words(cell, matrix, cell.arch)
    for name, flavour in matrix.flavours.items():
        if package in {text.partition(":")[0] for text in flavour.packages_for(os, words)}:
            yield f"flavour `{name}`"
    if cell.toolchain.cuda.image:
        return
    source, recipe_words = cell.toolchain.cuda.source, words_of(cell, recipes)
    for component in matrix.components_of(cell, "devel"):
        parts = (row for part in _PARTS for row in recipes.of(source, (component,), part))
        if package in {spec.name for spec in _packages(parts, recipe_words)}:
            yield f"component `{component}`"


def _base_requests(cell: Cell, matrix: Matrix, arch: str) -> dict[str, Request]:
    """Return the requests for the base of a build host, and for the unpackers in it."""
    os, keys, machine = matrix.facts.os[cell.os], os_sets(cell, arch), docker_arch(arch)
    image = cell.toolchain.cuda.image or matrix.bases.get(cell.os)
    requests: dict[str, Request] = {
        keys.base: ImageRequest(machine, os.suite, image)
        if image
        else BootstrapRequest(
            machine, os.suite, (*_BASE_PACKAGES, *map(PackageSpec, os.base_packages))
        )
    }
    if keys.unpackers:
        requests[keys.unpackers] = _os_request(os, arch, os.family.unpackers, keys.base)
    return requests


def _os_request(
    os: OperatingSystem, arch: str, packages: Iterable[str], *below: str
) -> SystemRequest:
    """Return the request for packages as flavours name them: `zlib1g-dev:arm64`."""
    names = (text.partition(":") for text in {*packages})
    specs = tuple(sorted(PackageSpec(name, arch=of_arch) for name, _, of_arch in names))
    return SystemRequest(os.family.resolver, docker_arch(arch), os.suite, specs, below)


def _image_requests(cell: Cell, matrix: Matrix) -> dict[str, Request]:
    """Return the requests for what the cell's image must have: CUDA's components, and cuDNN."""
    arch, keys = docker_arch(cell.arch), os_sets(cell, cell.arch)
    parts = [("cuda", cell.cuda, matrix.components_of(cell, "devel"))]
    parts += [("cudnn", cell.cudnn, ("cudnn",))] if cell.cudnn else []
    return {
        f"{keys.prefix}-{product}{version}": InImageRequest(arch, version, components, keys.base)
        for product, version, components in parts
    }


def _toolkit_requests(cell: Cell, matrix: Matrix, recipes: Recipes) -> dict[str, Request]:
    arch, origin, devel = cell.arch, cell.toolchain.cuda, matrix.components_of(cell, "devel")
    parts = [("runtime", arch, matrix.components_of(cell, "runtime")), ("devel", arch, devel)]
    parts += [("tools", arch, devel)] if TARGETS[arch].is_native else []
    parts += [("tools", CROSS_HOST, devel)] if cell.is_crossed else []
    parts += [("compat", arch, (COMPAT,))] if matrix.cuda_compat else []
    words = words_of(cell, recipes)
    requests: dict[str, Request] = {}
    for part, machine, components in parts:
        packages = _packages(recipes.of(origin.source, components, part), words)
        is_cross = origin.source == "nvidia-cross" and part in ("runtime", "devel")
        cross = TARGETS[machine].cross if is_cross else ""
        request = _cuda_request(origin, machine, packages, cell.cuda, cross)
        requests[toolkit_set(cell, part, machine)] = request
    return requests


def _cudnn_request(cell: Cell, recipes: Recipes) -> Request:
    origin = replace(cell.toolchain.cuda, source=str(cell.toolchain.cudnn_source))
    rows = recipes.of_cudnn(origin.source, str(cell.cudnn)).values()
    return _cuda_request(origin, cell.arch, _packages(rows, words_of(cell, recipes)), cell.cuda)


def _cuda_request(
    origin: CudaSource, arch: str, packages: tuple[PackageSpec, ...], release: str, cross: str = ""
) -> Request:
    """Return a request whose versions come from the release, unless every package has one."""
    resolver, key, suite = CUDA_RESOLVERS[origin.source], TARGETS[arch].key, str(origin.suite)
    if all(package.version for package in packages):
        release = ""
    if origin.source == "debian":
        return SystemRequest(resolver, key, suite, packages)
    if origin.source not in _OF_SUITES:
        return ReleaseRequest(resolver, key, packages, release)
    return RepositoryRequest(resolver, key, suite, packages, release, cross)


def _packages(recipes: Iterable[Recipe], words: Mapping[str, str]) -> tuple[PackageSpec, ...]:
    names = {name.format_map(words) for recipe in recipes for name in recipe.take}
    return tuple(sorted(map(PackageSpec.parse, names)))
