"""The system packages of libraries, looked up before anything is resolved with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.lock.availability import HostArchives, Unavailable, unavailable_packages
from envmatrix.lock.model import PackageSet, SystemRequest
from envmatrix.lock.requests import library_layers
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import NATIVE, Library
from envmatrix.matrix.loading import positions_of_package
from envmatrix.matrix.model import Matrix

# The first library and cell with each request.
_Users = Mapping[SystemRequest, tuple[Library, Cell]]


def require_library_packages(
    root: Path, matrix: Matrix, locked: Mapping[str, PackageSet], archives: HostArchives
) -> None:
    """Raise ConfigurationError with all packages of libraries that archives of apt do not have.
    Those of requests that are locked were there."""
    users: dict[SystemRequest, tuple[Library, Cell]] = {}
    for library, cell in product(matrix.libraries, matrix.cells):
        for layer in library_layers(library, cell, matrix):
            is_locked = layer.key in locked and locked[layer.key].request == layer.request
            if layer.request.resolver == "apt" and not is_locked:
                users.setdefault(layer.request, (library, cell))
    problems = [
        problem
        for row in unavailable_packages(users, archives)
        for problem in _problems(row, users, root, matrix)
    ]
    if problems:
        raise ConfigurationError(*dict.fromkeys(problems))


def _problems(row: Unavailable, users: _Users, root: Path, matrix: Matrix) -> Iterator[Problem]:
    """Yield the problem of a package at each position at which the repository names it."""
    os = matrix.facts.of_suite(row.suite)
    message, hint = f"`{os.name}` has no package `{row.name}`", row.hint
    if row.others:
        library, cell = _user_of(row, users)
        others = " and ".join(f"`{arch}`" for arch in row.others)
        message = (
            f"`{os.name}` has the package `{row.name}` for {others} only: library "
            f"`{library.name}` needs it for `{row.arch}` in `{cell.id}`"
        )
        hint = "leave out the cells of that architecture by the library's `cells`"
        if f"{row.name}{NATIVE}" not in library.packages.packages_of(os):
            hint += f"; a program that only its build starts is `{row.name}{NATIVE}`"
    positions: tuple[Position | None, ...] = positions_of_package(root, row.name, os) or (None,)
    yield from (Problem(message, position, hint) for position in positions)


def _user_of(row: Unavailable, users: _Users) -> tuple[Library, Cell]:
    """Return the first library and cell that need a package for an architecture."""
    place = row.suite, row.arch, row.name
    return next(
        user
        for request, user in users.items()
        for item in request.packages
        if (request.suite, item.arch or request.arch, item.name) == place
    )
