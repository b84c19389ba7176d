"""Why packages are in a lock: the sets that contain one, what asks for it there, and the cells that
use these sets. A lock has no dependencies between packages, so of a package that nothing asks for
it tells only with which others it came. Pure."""

from __future__ import annotations

from envmatrix.facts.recipes import Recipes
from envmatrix.lock.model import (
    BootstrapRequest,
    Lock,
    ReleaseRequest,
    RepositoryRequest,
    Request,
    SystemRequest,
    WheelsRequest,
)
from envmatrix.lock.requests import cells_of_sets, requesters_of
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.model import Matrix
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Membership:
    """A package in the set `key`, and the `cells` that use the set. If `is_requested`, the set asks
    for it by its name, because `requesters` do, or envmatrix itself; otherwise it came with some of
    the packages `requests`, which are all that the set asks for."""

    key: str
    version: str
    requests: tuple[str, ...]
    is_requested: bool
    requesters: tuple[str, ...]
    cells: tuple[Cell, ...]


def memberships(
    package: str, lock: Lock, matrix: Matrix, recipes: Recipes
) -> tuple[Membership, ...]:
    """Return the sets of a lock that contain a package, sorted by their keys."""
    users = cells_of_sets(matrix, recipes)
    rows = []
    for key, package_set in sorted(lock.sets.items()):
        versions = sorted({item.version for item in package_set.artifacts if item.name == package})
        if not versions:
            continue
        cells, names = tuple(users.get(key, ())), requested_names(package_set.request)
        is_requested = _normal(package) in map(_normal, names)
        requesters = [
            requester
            for cell in cells
            if is_requested
            for requester in requesters_of(package, key, cell, matrix, recipes)
        ]
        unique = tuple(dict.fromkeys(requesters))
        rows.append(Membership(key, ", ".join(versions), names, is_requested, unique, cells))
    return tuple(rows)


def requested_names(request: Request) -> tuple[str, ...]:
    """Return the names of the packages that a request asks for."""
    match request:
        case BootstrapRequest() | SystemRequest() | ReleaseRequest() | RepositoryRequest():
            return tuple(dict.fromkeys(package.name for package in request.packages))
        case WheelsRequest(requirements=requirements):
            from packaging.requirements import Requirement

            return tuple(dict.fromkeys(Requirement(text).name for text in requirements))
    return ()


def _normal(name: str) -> str:
    """Return a name as package indexes compare it."""
    return name.lower().replace("_", "-").replace(".", "-")
