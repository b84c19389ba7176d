"""A cell with the libraries to work on, and its images, which exist in the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from envmatrix.app.images import provide_images
from envmatrix.app.places import THIS_MACHINE, Place
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.images.model import CompilerCache, Image, analysis_image, images_of, lacks_cross
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import find_cell, is_for, select_libraries


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


def open_session(
    console: Console, *, only_compiler: bool = False, **arguments: Unpack[CellArguments]
) -> CellSession:
    """Return the session of a cell with its images; without the runtime image if
    `only_compiler`."""
    workspace, machine, emulate = Workspace.here(), host_arch(), arguments["emulate"]
    cell, libraries = find_libraries(workspace, arguments["name"], arguments["libraries"])
    if lacks_cross(cell, machine) and not emulate:
        raise EnvmatrixError(
            f"`{cell.id}` has no flavour `cross`: its CUDA is in an image of its own "
            "architecture, or its system has no cross compiler",
            hint="compile it under emulation: `--emulate`",
        )
    compiler, *others = images_of(cell, machine, emulate=emulate)
    runtime = next(iter(others), None)
    names = provide_images(workspace, [compiler] if only_compiler else [compiler, *others], console)
    cache = compiler_cache_of(workspace, cell, compiler, console)
    limits = arguments["jobs"], arguments["memory"]
    return CellSession(
        workspace, cell, libraries, compiler, runtime, names, cache, *limits, console
    )


def open_analysis(
    name: str, library_names: Sequence[str], jobs: int | None, console: Console
) -> CellSession:
    """Return the session of a cell with its analysis image, which has the cell's own
    architecture."""
    workspace = Workspace.here()
    cell, libraries = find_libraries(workspace, name, library_names)
    if not workspace.matrix.has_analysis(cell):
        hint = "describe it in `envs/analysis.yaml`; docs/analysis.md has one"
        raise ConfigurationError("there is no flavour `analysis`", hint=hint)
    if docker_arch(cell.arch) != host_arch():
        message = f"`{cell.id}` can be examined only on a machine of its own architecture"
        hint = "examine a cell of this machine's: most findings are the same"
        raise EnvmatrixError(message, hint=hint)
    image = analysis_image(cell)
    names = provide_images(workspace, [image], console)
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


def find_libraries(
    workspace: Workspace, cell_name: str, names: Sequence[str]
) -> tuple[Cell, tuple[Library, ...]]:
    """Return a cell with the named libraries, or with all that are for it; raise ConfigurationError
    if a named one is not for it, if there is none, or if the directory of one is missing."""
    matrix = workspace.matrix
    cell, named = find_cell(matrix, cell_name), named_libraries(matrix, names)
    libraries = tuple(library for library in named if is_for(library, cell, matrix))
    if names and len(libraries) < len(named):
        others = (library for library in named if library not in libraries)
        raise ConfigurationError(*(_not_for(library, cell) for library in others))
    if not libraries:
        every = ", ".join(f"`{library.name}`" for library in named)
        raise ConfigurationError(f"no library is for `{cell.id}`", hint=f"matrix.yaml has {every}")
    require_directories(workspace.root, libraries)
    return cell, libraries


def named_libraries(matrix: Matrix, names: Sequence[str]) -> tuple[Library, ...]:
    """Return the named libraries, or all without a name; raise ConfigurationError for each name
    that is unknown, and if there is none."""
    libraries = select_libraries(matrix, names)
    if not libraries:
        hint = "add one under `libraries:`"
        raise ConfigurationError("matrix.yaml lists no libraries", hint=hint)
    return libraries


def require_directories(root: Path, libraries: Iterable[Library]) -> None:
    """Raise ConfigurationError if the directory of a library of the repository is missing."""
    hint = "correct its `path`, which begins at the root of the repository"
    problems = [
        Problem(f"library `{item.name}`: there is no directory `{item.path}`", item.position, hint)
        for item in libraries
        if item.source is None and not (root / item.path).is_dir()
    ]
    if problems:
        raise ConfigurationError(*problems)


def _not_for(library: Library, cell: Cell) -> Problem:
    """Return why a library is not for a cell."""
    if library.suits(cell.arch):
        message = f"library `{library.name}` is not for `{cell.id}`"
        return Problem(message, hint="its `cells` in matrix.yaml say which")
    message = f"library `{library.name}` needs CUDA, and `{cell.id}` has none"
    return Problem(message, hint="if it needs none, say so in matrix.yaml: `cuda: none`")
