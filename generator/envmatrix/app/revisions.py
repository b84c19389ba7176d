"""Changes since a revision: of cells, and of the libraries that they affect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate, Problem
from envmatrix.lock.lock_file import FILE, load
from envmatrix.lock.requests import drift
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.files import FLAVOURS, MATRIX, OVERLAYS
from envmatrix.matrix.library import Library
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import is_for, select_in_any
from envmatrix.plan.matrix_diff import Change, State, changes, library_change, source_change
from envmatrix.sessions.test_dependencies import files_of_library, is_ignored
from envmatrix.vcs.git import changed_files, export_files


def _states(workspace: Workspace, revision: str, console: Console) -> tuple[State, State]:
    """Return the states of a revision and of the working tree, whose lock may be older than its
    matrix."""
    before = _committed(workspace.root, revision)
    after = State(workspace.matrix, load(workspace.root))
    if drift(after.lock, after.matrix, workspace.recipes):
        console.say(f"`{FILE}` is out of date with `{MATRIX}`; see `envmatrix lock`")
    return before, after


def changes_since(
    workspace: Workspace, revision: str, patterns: Sequence[str], console: Console
) -> tuple[Change, ...]:
    """Return which of the cells that `patterns` select on either side come, go or change."""
    before, after = _states(workspace, revision, console)
    rows = changes(before, after)
    if not patterns:
        return rows
    selected = select_in_any([after.matrix, before.matrix], patterns)
    return tuple(change for change in rows if change.cell in selected)


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


@dataclass(frozen=True, slots=True)
class Affected:
    """A library in a cell, and why a change reaches it; None if it does not."""

    library: str
    cell: str
    reason: str | None


def pairs_since(
    workspace: Workspace, patterns: Sequence[str], since: str, console: Console
) -> Iterator[Affected]:
    """Yield every library in every selected cell, with the reason if changes affect it."""
    files, matrix = changed_files(workspace.root, since), workspace.matrix
    diff = compare_revision(workspace, since, console)
    for cell, library in product(workspace.cells(patterns), matrix.libraries):
        if is_for(library, cell, matrix):
            reason = diff.reason_for(library, cell) or _source_reason(library, files, diff)
            yield Affected(library.name, cell.id, reason)


@dataclass(frozen=True, slots=True)
class RevisionDiff:
    """The difference between a revision and the working tree: both states, and the reason for each
    cell that changed; or the reason why they cannot be compared."""

    states: tuple[State, State] | None
    cells: Mapping[str, str]
    unknown: str | None = None

    def reason_for(self, library: Library, cell: Cell) -> str | None:
        """Return why a library in a cell is affected apart from its own files; None if not."""
        if self.states is None:
            return self.unknown
        return self.cells.get(cell.id) or library_change(library, *self.states)


def compare_revision(workspace: Workspace, since: str, console: Console) -> RevisionDiff:
    """Compare a revision with the working tree; raise ConfigurationError if it does not exist."""
    try:
        both = _states(workspace, since, console)
    except ConfigurationError as error:
        if error.problems[0].message.startswith("revision "):
            raise
        return RevisionDiff(None, {}, f"the matrix at `{since}` cannot be read")
    except EnvmatrixError as error:
        return RevisionDiff(None, {}, error.message)
    reasons = {
        change.cell.id: f"the cell {change.verb}: {change.reasons[0]}" for change in changes(*both)
    }
    return RevisionDiff(both, reasons)


def _source_reason(library: Library, files: Sequence[str], diff: RevisionDiff) -> str | None:
    if library.source is not None:
        return source_change(library, *diff.states) if diff.states else None
    ignored = library.tests.ignore if library.tests else ()
    relevant = [
        file for file in files_of_library(files, library.path) if not is_ignored(file, ignored)
    ]
    if not relevant:
        return None
    more = f" and {len(relevant) - 1} more" if len(relevant) > 1 else ""
    return f"`{relevant[0]}`{more} changed"
