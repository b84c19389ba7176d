"""A cell with the libraries to work on, and its images, which exist in the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal, TypedDict, Unpack

from envmatrix.app.images import provide_images
from envmatrix.app.places import THIS_MACHINE, Place
from envmatrix.app.selected_libraries import find_libraries
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.documentation import page
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.images.model import (
    CompilerCache,
    Image,
    analysis_image,
    dev_image,
    images_of,
    lacks_cross,
    library_image,
)
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import DEV
from envmatrix.records import dataclass

# What the images of a session are for: to compile, to compile and run, or for people to work in.
Purpose = Literal["compiler", "runtime", "dev"]


class CellArguments(TypedDict):
    """The arguments of verbs that work in a cell; `memory` is a container's limit, in MB."""

    name: str
    libraries: Sequence[str]
    emulate: bool
    jobs: int | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class CellSession:
    """A cell, the libraries to work on, and its images; `names` are their names in the engine, and
    `cache` is the compiler cache that they have, if any. `jobs` and `memory`, in MB, are limits of
    the user's; `place` is where its containers run, and `processors` as many as they keep busy."""

    workspace: Workspace
    cell: Cell
    libraries: tuple[Library, ...]
    compiler: Image
    runtime: Image | None
    names: Mapping[Image, str]
    cache: CompilerCache | None
    jobs: int | None
    memory: int | None
    console: Console
    place: Place = THIS_MACHINE
    processors: float | None = None

    def image_for(self, image: Image, library: Library) -> Image:
        """Return the image of a library over an image of the cell."""
        return library_image(image, library, self.cell, self.workspace.matrix)


def open_session(
    console: Console,
    purpose: Purpose = "runtime",
    *,
    only_first: bool = False,
    **arguments: Unpack[CellArguments],
) -> CellSession:
    """Return the session of a cell with the images for a purpose, of all libraries or only of the
    first."""
    workspace, machine, emulate = Workspace.here(), host_arch(), arguments["emulate"]
    cell, libraries = find_libraries(workspace, arguments["name"], arguments["libraries"])
    if lacks_cross(cell, machine) and not emulate:
        raise EnvmatrixError(
            f"`{cell.id}` has no flavour `cross`: its CUDA is in an image of its own "
            "architecture, or its system has no cross compiler",
            hint="compile it under emulation: `--emulate`",
        )
    libraries = libraries[:1] if only_first else libraries
    compiler, *others = images_of(cell, machine, emulate=emulate)
    runtime = next(iter(others), None)
    images = {
        "compiler": [],
        "runtime": others,
        "dev": [_dev_image(workspace, cell, compiler)] if purpose == "dev" else [],
    }
    required = _images_for(workspace, cell, compiler, libraries, images[purpose])
    names = provide_images(workspace, required, console)
    cache = compiler_cache_of(workspace, cell, compiler, console)
    limits = arguments["jobs"], arguments["memory"]
    return CellSession(
        workspace, cell, libraries, compiler, runtime, names, cache, *limits, console
    )


def _images_for(
    workspace: Workspace,
    cell: Cell,
    compiler: Image,
    libraries: Sequence[Library],
    others: Sequence[Image] = (),
) -> Sequence[Image]:
    """Return what libraries and those that they need have of the image to compile in, and what
    libraries have of `others`, without duplicates."""
    matrix = workspace.matrix
    pairs = [*product([compiler], matrix.with_needs(libraries)), *product(others, libraries)]
    return [*dict.fromkeys(library_image(*pair, cell, matrix) for pair in pairs)]


def _dev_image(workspace: Workspace, cell: Cell, compiler: Image) -> Image:
    """Return the image for people; raise ConfigurationError if the cell has none here."""
    if cell.python:
        message = f"`dev` has the Python of the operating system, and `{cell.id}` another one"
        hint = f"take `{replace(cell, python=None).id}`, or leave out `--dev`"
        raise ConfigurationError(message, hint=hint)
    if compiler.is_cross:
        message = f"`{cell.id}` is cross-compiled here, and `dev` has compilers of its machine only"
        hint = "take a cell of this machine's architecture, or leave out `--dev`"
        raise ConfigurationError(message, hint=hint)
    if DEV not in workspace.matrix.extensions(cell):
        raise ConfigurationError(
            "there is no flavour `dev`",
            hint="ask for it in matrix.yaml, `policy: {dev_images: on}`; then `envmatrix lock` and "
            "`envmatrix generate`",
        )
    return dev_image(compiler)


def open_analysis(
    name: str, library_names: Sequence[str], jobs: int | None, console: Console
) -> CellSession:
    """Return the session of a cell with its analysis image, which has the cell's own
    architecture."""
    workspace = Workspace.here()
    cell, libraries = find_libraries(workspace, name, library_names)
    if not library_names:  # analysers build with flags of their own
        default = tuple(library for library in libraries if not library.variant.name)
        libraries = default or libraries
    if cell.python:
        message = f"the flavour `analysis` has the Python of the operating system, `{cell.id}` not"
        raise ConfigurationError(message, hint=f"take `{replace(cell, python=None).id}`")
    if not workspace.matrix.has_analysis(cell):
        hint = f"describe it in `envs/analysis.yaml`, as {page('analysis')} does"
        raise ConfigurationError("there is no flavour `analysis`", hint=hint)
    if docker_arch(cell.arch) != host_arch():
        message = f"`{cell.id}` can be examined only on a machine of its own architecture"
        hint = "examine a cell of this machine's: most findings are the same"
        raise EnvmatrixError(message, hint=hint)
    image = analysis_image(cell)
    required = _images_for(workspace, cell, image, libraries)
    names = provide_images(workspace, required, console)
    cache = compiler_cache_of(workspace, cell, image, console)
    return CellSession(workspace, cell, libraries, image, image, names, cache, jobs, None, console)


def compiler_cache_of(
    workspace: Workspace, cell: Cell, image: Image, console: Console
) -> CompilerCache | None:
    """Return the compiler cache of an image, if it has one; warn if CUDA is compiled without it."""

    def compute() -> CompilerCache | None:
        from envmatrix.images.compiler_cache import compiler_cache

        return compiler_cache(cell, image, workspace.lock)

    cache = workspace.cached(f"cache {cell.id} {image}", compute)
    if cache and "CUDA" not in cache.languages and TARGETS[cell.arch].cuda:
        message = f"{cache.name} of `{cell.id}` cannot reproduce the objects of nvcc"
        console.warn(f"{message}: CUDA is compiled without it; use ccache")
    return cache
