"""Projects of the package index that have the libraries of CUDA, by facts of components. Pure."""

from __future__ import annotations

import posixpath
import re
from fnmatch import fnmatchcase

from packaging.utils import canonicalize_name

from envmatrix.facts.components import markers
from envmatrix.facts.recipes import Recipe, shipped_recipes
from envmatrix.facts.versions import version_key
from envmatrix.lock.cuda_in_image import component_of
from envmatrix.lock.requests import words_of
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import PublishableWheels
from envmatrix.records import dataclass
from envmatrix.sessions.verdicts import DRIVER_LIBRARY

# The project with an extra for each component of CUDA: of a release, it requires what has it.
TOOLKIT = "cuda-toolkit"
# The first CUDA whose projects have no major version in their names, and one directory.
_ONE_DIRECTORY = (13,)


@dataclass(frozen=True, slots=True)
class Provider:
    """What provides a library at run time: a `project` of the index, in a `directory` beside the
    wheel's packages; one of CUDA's toolkit is an `extra` of `cuda-toolkit` as well. `requirement`
    is what asks for it. The driver provides libraries without a project."""

    project: str = ""
    requirement: str = ""
    directory: str = ""
    extra: str = ""


_DRIVER = Provider()


def provider_of(library: str, cell: Cell, wheels: PublishableWheels) -> Provider | None:
    """Return what provides a library outside of a wheel; None if that is not known, or if nothing
    does."""
    if re.fullmatch(DRIVER_LIBRARY, library):
        return _DRIVER
    for project, patterns in wheels.provided.items():
        if any(fnmatchcase(library, pattern) for pattern in patterns):
            return Provider(canonicalize_name(project), project)
    component = component_of(library) if ".so" in library else None
    return _of_component(component, cell) if component else None


def is_of_cuda(library: str) -> bool:
    """Return whether a library is one of CUDA's, or of a product on top of it, that programs
    load."""
    component = component_of(library) if ".so" in library else None
    return component is not None and any(".so" in file for file in markers()[component].files)


def _of_component(component: str, cell: Cell) -> Provider | None:
    recipe = _runtime_recipe(component, cell)
    if recipe is None:
        return None
    (package, places), *_ = recipe.take.items()
    words = words_of(cell, shipped_recipes())
    name, _, version = package.partition("=")
    project, version = name.format_map(words), version.format_map(words).removesuffix(".*")
    (pattern, *_), *_ = places.values()
    directory, major = posixpath.dirname(pattern), words["major"]
    if "{major}" in name:
        following = int(version.split(".")[0]) + 1
        return Provider(project, f"{project}>={version},<{following}", directory)
    if version_key(cell.cuda) < _ONE_DIRECTORY:
        # Measured: nvidia-cuda-runtime-cu12 has nvidia/cuda_runtime/lib, nvidia-cublas-cu11 has
        # nvidia/cublas/lib.
        directory = f"nvidia/{project.removeprefix('nvidia-').replace('-', '_')}/lib"
        project = f"{project}-cu{major}"
    release = ".".join(cell.cuda.split(".")[:2])
    requirement = f"{TOOLKIT}[{component}]>={release},<{int(major) + 1}"
    return Provider(project, requirement, directory, component)


def _runtime_recipe(component: str, cell: Cell) -> Recipe | None:
    """Return the recipe of what programs load of a component, from NVIDIA's wheels."""
    recipes = shipped_recipes()
    if component == "cudnn":
        return recipes.of_cudnn("pypi", cell.cudnn)["runtime"] if cell.cudnn else None
    parts = recipes.sources["pypi"].components.get(component, {})
    return parts.get("runtime")
