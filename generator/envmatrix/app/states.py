"""The states of a repository at a revision and in the working tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, OutOfDate, Problem
from envmatrix.lock.lock_file import FILE, load
from envmatrix.lock.requests import drift
from envmatrix.matrix.files import FLAVOURS, MATRIX, OVERLAYS
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import select_in_any
from envmatrix.plan.matrix_diff import Change, State, changes
from envmatrix.vcs.git import export_files


def states(workspace: Workspace, revision: str, console: Console) -> tuple[State, State]:
    """Return the states of a revision and of the working tree."""
    return _committed(workspace.root, revision), _present(workspace, console)


def changes_since(
    workspace: Workspace, revision: str, patterns: Sequence[str], console: Console
) -> tuple[Change, ...]:
    """Return which of the cells that `patterns` select on either side come, go or change."""
    before, after = states(workspace, revision, console)
    rows = changes(before, after)
    if not patterns:
        return rows
    selected = select_in_any([after.matrix, before.matrix], patterns)
    return tuple(change for change in rows if change.cell in selected)


def _present(workspace: Workspace, console: Console) -> State:
    """Return the state of the working tree, whose lock may be older than its matrix."""
    state = State(workspace.matrix, load(workspace.root))
    if drift(state.lock, state.matrix, workspace.recipes):
        console.say(f"`{FILE}` is out of date with `{MATRIX}`; see `envmatrix lock`")
    return state


def _committed(root: Path, revision: str) -> State:
    files = (MATRIX, OVERLAYS, FLAVOURS, FILE)
    with TemporaryDirectory(prefix="envmatrix-diff-") as scratch:
        directory = Path(scratch)
        export_files(root, revision, files, directory)
        try:
            return State(load_matrix(directory), load(directory))
        except ConfigurationError as error:
            problems = (_at(revision, problem) for problem in error.problems)
            raise ConfigurationError(*problems) from error
        except OutOfDate as error:
            raise OutOfDate(f"at `{revision}`, {error.message}") from error


def _at(revision: str, problem: Problem) -> Problem:
    """Return `problem` with its place in a revision, and without a hint: it cannot be corrected."""
    position = problem.position
    if position is None:
        return Problem(f"at `{revision}`, {problem.message}")
    return Problem(problem.message, replace(position, file=f"{revision}:{position.file}"))
