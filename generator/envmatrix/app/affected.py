"""Libraries and cells that the changes since a revision affect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from envmatrix.app.states import states
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.selection import is_for
from envmatrix.plan.matrix_diff import State, changes, library_change, source_change
from envmatrix.sessions.test_dependencies import files_of_library, is_ignored
from envmatrix.vcs.git import changed_files


@dataclass(frozen=True, slots=True)
class Affected:
    """A library in a cell, and why a change reaches it; None if it does not."""

    library: str
    cell: str
    reason: str | None


def _pairs(workspace: Workspace, cells: Sequence[Cell]) -> Iterator[tuple[Library, Cell]]:
    matrix, libraries = workspace.matrix, workspace.matrix.libraries
    for cell in cells:
        yield from ((library, cell) for library in libraries if is_for(library, cell, matrix))


def pairs_since(
    workspace: Workspace, patterns: Sequence[str], since: str, console: Console
) -> Iterator[Affected]:
    """Yield every library in every selected cell, with the reason if changes affect it."""
    files = changed_files(workspace.root, since)
    diff = compare_revision(workspace, since, console)
    for library, cell in _pairs(workspace, workspace.cells(patterns)):
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
        both = states(workspace, since, console)
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
