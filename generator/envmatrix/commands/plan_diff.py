"""`envmatrix plan --diff`: the cells that changed since a git revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.commands import options
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console, output
from envmatrix.engine.revisions import check_out
from envmatrix.errors import ConfigurationError, OutOfDate, Problem
from envmatrix.lock.model import FILE, load
from envmatrix.lock.requests import drift
from envmatrix.matrix.files import FLAVOURS, MATRIX, OVERLAYS
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import select_in_any
from envmatrix.plan.changes import Change, State, changes

_MOST_REASONS = 5


def show_diff(
    workspace: Workspace,
    revision: str,
    patterns: Sequence[str],
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Show which of the cells that `patterns` select on either side come, go or change."""
    before, after = states(workspace, revision, console)
    rows = changes(before, after)
    if patterns:
        selected = select_in_any([after.matrix, before.matrix], patterns)
        rows = tuple(change for change in rows if change.cell in selected)
    if as_json:
        options.print_json([_row(change) for change in rows])
    else:
        lines = [_line(change) for change in rows]
        output("\n".join(lines or [f"no cell comes, goes or changes since `{revision}`"]))


def states(workspace: Workspace, revision: str, console: Console) -> tuple[State, State]:
    """Return the states of a revision and of the working tree."""
    return _committed(workspace.root, revision), _present(workspace, console)


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
        check_out(root, revision, files, directory)
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


def _row(change: Change) -> dict[str, object]:
    return {"cell": change.cell.id, "change": change.verb, "reasons": list(change.reasons)}


def _line(change: Change) -> str:
    more = len(change.reasons) - _MOST_REASONS
    shown = [*change.reasons[:_MOST_REASONS], *([f"and {more} more"] if more > 0 else [])]
    return f"{change.verb:8} {change.cell}: {'; '.join(shown)}"
