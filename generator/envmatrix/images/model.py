"""The images of environments, and those that a cell needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from envmatrix.errors import ConfigurationError
from envmatrix.facts.targets import CROSS_HOST, TARGETS, docker_arch
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import ANALYSIS, DEV, Matrix
from envmatrix.matrix.selection import is_for
from envmatrix.records import dataclass

# The directory of scripts in the build context and in steps.
SCRIPTS = "scripts"


@dataclass(frozen=True, slots=True)
class Image:
    """An image: a final stage of an environment's Dockerfile for one architecture (Docker's name).
    The flavour has the suffix of its target, if any, and tools other than the default ones:
    `cross-jetson`, `devel-clang16-py3.14`. That of a `library` has its system packages over the
    flavour."""

    environment: str
    flavour: str
    arch: str
    library: str = ""

    @property
    def name(self) -> str:
        """The name of its stage, and in tags."""
        return f"{self.flavour}-for-{self.library}" if self.library else self.flavour

    @property
    def reference(self) -> str:
        return f"envmatrix/{self.environment}:{self.name}-{self.arch}"

    @property
    def is_cross(self) -> bool:
        """Return whether it compiles for another architecture than its own."""
        return self.flavour.startswith("cross")

    @property
    def extends(self) -> str:
        """The flavour of `envs/` whose packages it has beside compilers."""
        return self.flavour.partition("-")[0]

    @property
    def platform(self) -> str:
        return f"linux/{self.arch}"

    def __str__(self) -> str:
        return f"{self.environment}:{self.name}-{self.arch}"


@dataclass(frozen=True, slots=True)
class BuildNeeds:
    """The keys in the lock of what has to be there before an image is built: the sets of its files,
    and bootstrapped bases."""

    sets: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompilerCache:
    """A compiler cache: its program, the hash of the compilers as its key, and the languages that
    it is used for, by CMake's names."""

    name: str
    toolchain: str
    languages: tuple[str, ...] = ("C", "CXX", "CUDA")


def images_of(cell: Cell, host_arch: str, *, emulate: bool = False) -> tuple[Image, ...]:
    """Return the images that a machine of `host_arch` (Docker's name) needs: the one to compile in,
    and the one to run in, if the target can run in a container. Raise ConfigurationError if the
    machine cannot compile for the cell."""
    target, environment = TARGETS[cell.arch], cell.environment
    host = docker_arch(CROSS_HOST)
    if (emulate and not target.is_native) or not can_compile_on(cell, host_arch):
        message = f"`{cell.id}` is cross-compiled on {CROSS_HOST} only"
        if cell.python:
            message = f"Python {cell.python} of `{cell.id}` is compiled on {CROSS_HOST} only"
        hint = "leave out `--emulate`" if emulate else f"take a machine of {CROSS_HOST}"
        raise ConfigurationError(message, hint=hint)
    crossed = cell.is_crossed and host_arch != target.machine and not emulate
    if crossed or not target.is_native:
        compiler = Image(environment, cell.flavour(f"cross{target.suffix}"), host)
    else:
        compiler = Image(environment, cell.flavour("devel"), docker_arch(target.name))
    if target.machine is None:
        return (compiler,)
    return compiler, Image(environment, cell.flavour(f"runtime{target.suffix}"), target.machine)


def analysis_image(cell: Cell) -> Image:
    """Return the image for code analysis of a cell, on a machine of the cell's architecture."""
    return Image(cell.environment, cell.flavour(ANALYSIS), docker_arch(cell.arch))


def dev_image(compiler: Image) -> Image:
    """Return the image for people over the one that compiles for its own architecture."""
    return replace(compiler, flavour=compiler.flavour.replace("devel", DEV, 1))


def library_image(image: Image, library: Library, cell: Cell, matrix: Matrix) -> Image:
    """Return the image of a library over an image of a cell, or that image where the library needs
    no packages in it."""
    has_own = library.packages and matrix.library_packages(library, cell, image.flavour)
    return replace(image, library=library.declared_name) if has_own else image


def images_with_libraries(cell: Cell, images: Iterable[Image], matrix: Matrix) -> Iterator[Image]:
    """Yield images of a cell, each with those of libraries over it."""
    for image in images:
        yield image
        for library in matrix.libraries:
            if library.packages and is_for(library, cell, matrix):
                yield library_image(image, library, cell, matrix)


def can_compile_on(cell: Cell, host_arch: str) -> bool:
    """Return whether a machine of `host_arch` can compile for the cell, and its Python."""
    is_native = TARGETS[cell.arch].is_native and not cell.python
    return is_native or host_arch == docker_arch(CROSS_HOST)


def runs_natively_on(cell: Cell, host_arch: str) -> bool:
    """Return whether programs of the cell run on a machine of `host_arch` without emulation."""
    target = TARGETS[cell.arch]
    return target.machine == host_arch and target.emulator is None


def lacks_cross(cell: Cell, host_arch: str) -> bool:
    """Return whether the cell is foreign to a machine of `host_arch` and is not cross-compiled."""
    is_foreign = cell.arch != CROSS_HOST and host_arch != TARGETS[cell.arch].machine
    return is_foreign and not cell.is_crossed
