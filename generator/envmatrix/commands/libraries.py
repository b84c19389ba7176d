"""The libraries of a cell to work on: chosen by name, and there."""

from __future__ import annotations

from envmatrix.commands.workspace import Workspace
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix.model import Library, PlannedCell
from envmatrix.matrix.selection import is_for


def libraries_of(workspace: Workspace, name: str | None, cell: PlannedCell) -> tuple[Library, ...]:
    """The library of a name, or all that are for the cell; those of the repository are there."""
    chosen = _chosen(workspace, name, cell)
    problems = [
        Problem(
            f"library `{its.name}`: there is no directory `{its.path}`",
            its.position,
            "correct its `path`, which begins at the root of the repository",
        )
        for its in chosen
        if its.source is None and not (workspace.root / its.path).is_dir()
    ]
    if problems:
        raise ConfigurationError(*problems)
    return chosen


def _chosen(workspace: Workspace, name: str | None, cell: PlannedCell) -> tuple[Library, ...]:
    everything = workspace.matrix.libraries
    known = tuple(its for its in everything if is_for(its, cell, workspace.matrix))
    if name is None and known:
        return known
    chosen = tuple(its for its in everything if its.name == name)
    if not chosen:
        names = ", ".join(f"`{item.name}`" for item in everything) or "none"
        raise ConfigurationError(_none_of(name, names, cell))
    if not chosen[0].suits(cell.cell.arch):
        message = f"library `{name}` needs CUDA, and `{cell.id}` has none"
        hint = "if it needs none, say so in matrix.yaml: `cuda: none`"
        raise ConfigurationError(Problem(message, hint=hint))
    if chosen[0] not in known:
        message = f"library `{name}` is not for `{cell.id}`"
        raise ConfigurationError(Problem(message, hint="its `cells` in matrix.yaml say which"))
    return chosen


def _none_of(name: str | None, names: str, cell: PlannedCell) -> Problem:
    if name is not None:
        return Problem(f"matrix.yaml has no library `{name}`", hint=f"it has {names}")
    if names == "none":
        return Problem("matrix.yaml lists no libraries", hint="add one under `libraries:`")
    return Problem(f"no library is for `{cell.id}`", hint=f"matrix.yaml has {names}")
