"""The libraries that a verb works on: named ones, or all that are for a cell."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path

from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import (
    find_cell,
    is_for,
    library_verdicts,
    select_libraries,
)
from envmatrix.suggestions import known_names
from envmatrix.text import one_line
from envmatrix.vcs import git
from envmatrix.vcs.own_directories import require_own


def find_libraries(
    workspace: Workspace, cell_name: str, names: Sequence[str]
) -> tuple[Cell, tuple[Library, ...]]:
    """Return a cell with the named libraries, or with all that are for it; raise ConfigurationError
    if a named one is not for it, if there is none, if the directory of one is missing, or if
    commits lead that of their builds elsewhere."""
    matrix = workspace.matrix
    cell, named = find_cell(matrix, cell_name), named_libraries(matrix, names)
    libraries = tuple(library for library in named if is_for(library, cell, matrix))
    if names and len(libraries) < len(named):
        others = (library for library in named if library not in libraries)
        raise ConfigurationError(*(_not_for(library, cell, matrix) for library in others))
    if not libraries:
        every = ", ".join(f"`{library.name}`" for library in named)
        raise ConfigurationError(f"no library is for `{cell.id}`", hint=f"matrix.yaml has {every}")
    require_directories(workspace.root, matrix.with_needs(libraries))
    require_own_builds(workspace.root, [cell])
    return cell, libraries


def named_libraries(matrix: Matrix, names: Sequence[str]) -> tuple[Library, ...]:
    """Return the named libraries, or all without a name; raise ConfigurationError for each name
    that is unknown, and if there is none."""
    libraries = select_libraries(matrix, names)
    if not libraries:
        hint = "add one under `libraries:`"
        raise ConfigurationError("matrix.yaml lists no libraries", hint=hint)
    return libraries


def require_steps(matrix: Matrix, names: Iterable[str]) -> None:
    """Raise ConfigurationError for each name of a step that no library has."""
    problems = [
        Problem(f"no library has a step `{one_line(name)}`", hint=known_names(name, matrix.steps))
        for name in names
        if name not in matrix.steps
    ]
    if problems:
        raise ConfigurationError(*problems)


def require_directories(root: Path, libraries: Iterable[Library]) -> None:
    """Raise ConfigurationError if the directory of a library of the repository is missing."""
    hint = "correct its `path`, which begins at the root of the repository"
    problems = []
    for item in libraries:
        if item.source is not None:
            continue
        if submodule := git.absent_around(root, root / item.path):
            problems.append(_absent(item, submodule))
        elif not (root / item.path).is_dir():
            message = f"library `{item.name}`: there is no directory `{item.path}`"
            problems.append(Problem(message, item.position, hint))
    if problems:
        raise ConfigurationError(*problems)


def require_own_builds(root: Path, cells: Iterable[Cell]) -> None:
    """Raise ConfigurationError if commits lead the directories of the builds of cells elsewhere."""
    require_own(root, (root / BUILD_ROOT / cell.id for cell in cells))


def absent_submodules(root: Path, libraries: Iterable[Library]) -> Sequence[Problem]:
    """Return the submodules in directories of libraries that are not checked out."""
    own = {library.path: library for library in libraries if library.source is None}
    return [
        _absent(library, posixpath.normpath(f"{path}/{submodule}"))
        for path, library in own.items()
        for submodule in git.absent_submodules(root, root / path)
    ]


def _absent(library: Library, submodule: str) -> Problem:
    message = f"library `{library.declared_name}`: the submodule `{one_line(submodule)}`"
    hint = "check it out: `git submodule update --init --recursive`"
    return Problem(f"{message} is not checked out", library.position, hint)


def _not_for(library: Library, cell: Cell, matrix: Matrix) -> Problem:
    """Return why a library is not for a cell."""
    verdicts = library_verdicts(library, cell, matrix)
    failed = next(verdict for verdict in verdicts if not verdict.passed)
    if failed.rule == "cuda":
        hint = "if it needs none, say so in matrix.yaml: `cuda: none`"
        return Problem(failed.explanation, hint=hint)
    message = f"library `{library.name}` is not for `{cell.id}`"
    if failed.rule == "cells":
        return Problem(message, hint="its `cells` in matrix.yaml say which")
    hint = f"see all rules: `envmatrix why {cell.id} --library {library.name}`"
    return Problem(f"{message}: {failed.explanation}", hint=hint)
