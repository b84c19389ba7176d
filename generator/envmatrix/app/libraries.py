"""The libraries of a cell to work on, selected by name."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.selection import is_for


def libraries_of(workspace: Workspace, name: str | None, cell: Cell) -> tuple[Library, ...]:
    """Return the named library, or all for the cell; raise ConfigurationError if there is none or
    its directory is missing."""
    matrix = workspace.matrix
    for_cell = tuple(library for library in matrix.libraries if is_for(library, cell, matrix))
    libraries = tuple(library for library in for_cell if name in (None, library.name))
    if not libraries:
        raise ConfigurationError(_no_library(name, matrix.libraries, cell))
    problems = [
        Problem(
            f"library `{library.name}`: there is no directory `{library.path}`",
            library.position,
            "correct its `path`, which begins at the root of the repository",
        )
        for library in libraries
        if library.source is None and not (workspace.root / library.path).is_dir()
    ]
    if problems:
        raise ConfigurationError(*problems)
    return libraries


def _no_library(name: str | None, libraries: Sequence[Library], cell: Cell) -> Problem:
    """Return why there is no library of this name, or none at all, for a cell."""
    names = ", ".join(f"`{library.name}`" for library in libraries)
    named = next((library for library in libraries if library.name == name), None)
    if named is None and name is not None:
        hint = f"it has {names or 'none'}"
        return Problem(f"matrix.yaml has no library `{name}`", hint=hint)
    if not libraries:
        return Problem("matrix.yaml lists no libraries", hint="add one under `libraries:`")
    if named is None:
        return Problem(f"no library is for `{cell.id}`", hint=f"matrix.yaml has {names}")
    if not named.suits(cell.arch):
        message = f"library `{name}` needs CUDA, and `{cell.id}` has none"
        return Problem(message, hint="if it needs none, say so in matrix.yaml: `cuda: none`")
    message = f"library `{name}` is not for `{cell.id}`"
    return Problem(message, hint="its `cells` in matrix.yaml say which")
