"""The libraries of a cell to work on, selected by name."""

from __future__ import annotations

from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.selection import is_for


def libraries_of(workspace: Workspace, name: str | None, cell: Cell) -> tuple[Library, ...]:
    """Return the named library, or all for the cell; raise ConfigurationError if there is none or
    its directory is missing."""
    libraries = _select(workspace, name, cell)
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


def _select(workspace: Workspace, name: str | None, cell: Cell) -> tuple[Library, ...]:
    libraries = workspace.matrix.libraries
    for_cell = tuple(library for library in libraries if is_for(library, cell, workspace.matrix))
    if name is None and for_cell:
        return for_cell
    selected = tuple(library for library in libraries if library.name == name)
    if not selected:
        names = ", ".join(f"`{library.name}`" for library in libraries) or "none"
        raise ConfigurationError(_no_library(name, names, cell))
    if not selected[0].suits(cell.arch):
        message = f"library `{name}` needs CUDA, and `{cell.id}` has none"
        hint = "if it needs none, say so in matrix.yaml: `cuda: none`"
        raise ConfigurationError(Problem(message, hint=hint))
    if selected[0] not in for_cell:
        message = f"library `{name}` is not for `{cell.id}`"
        raise ConfigurationError(Problem(message, hint="its `cells` in matrix.yaml say which"))
    return selected


def _no_library(name: str | None, names: str, cell: Cell) -> Problem:
    if name is not None:
        return Problem(f"matrix.yaml has no library `{name}`", hint=f"it has {names}")
    if names == "none":
        return Problem("matrix.yaml lists no libraries", hint="add one under `libraries:`")
    return Problem(f"no library is for `{cell.id}`", hint=f"matrix.yaml has {names}")
