"""`envmatrix affected`: which libraries have to be built and tested again, in which cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import click

from envmatrix.commands import options
from envmatrix.commands.plan_diff import states
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console, output
from envmatrix.engine.revisions import changed_files
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.model import Library, PlannedCell
from envmatrix.matrix.selection import is_for
from envmatrix.plan.changes import State, changes, library_change, source_change
from envmatrix.sessions.dependencies import is_ignored, of_library


@dataclass(frozen=True, slots=True)
class Affected:
    """A library in a cell that a change reaches, and why."""

    library: str
    cell: str
    reason: str


@click.command(epilog="Example: envmatrix affected --since origin/main --explain")
@click.option("--since", required=True, metavar="REV", help="A revision of the repository.")
@click.option("--explain", is_flag=True, help="Show also what is left out, and why.")
@options.select
@options.as_json
@options.verbosity
def command(
    *, since: str, explain: bool, patterns: Sequence[str], as_json: bool, console: Console
) -> None:
    """Show the libraries and cells that the changes since a revision affect, and why.

    If the changes cannot be determined, show all of them.
    """
    workspace = Workspace.here()
    cells = {cell.id for cell in workspace.cells(patterns)}
    chosen = [planned for planned in workspace.matrix.cells if planned.id in cells]
    affected = list(_affected(workspace, chosen, since, console))
    if as_json:
        options.print_json([asdict(pair) for pair in affected])
        return
    for pair in affected:
        output(f"affected {pair.library} in {pair.cell}: {pair.reason}")
    affected_names = {(pair.library, pair.cell) for pair in affected}
    places = list(_places(workspace, chosen))
    if explain:
        for library, planned in places:
            if (library.name, planned.id) not in affected_names:
                output(f"left out {library.name} in {planned.id}: nothing of it changed")
    console.say(f"{len(affected)} of {len(places)} libraries in cells are affected")


def _places(
    workspace: Workspace, cells: Sequence[PlannedCell]
) -> Iterator[tuple[Library, PlannedCell]]:
    matrix, libraries = workspace.matrix, workspace.matrix.libraries
    for planned in cells:
        yield from ((library, planned) for library in libraries if is_for(library, planned, matrix))


def _affected(
    workspace: Workspace, cells: Sequence[PlannedCell], since: str, console: Console
) -> Iterator[Affected]:
    files = changed_files(workspace.root, since)
    diff = compare_revision(workspace, since, console)
    for library, planned in _places(workspace, cells):
        reason = diff.reason_for(library, planned) or _source_reason(library, files, diff)
        if reason:
            yield Affected(library.name, planned.id, reason)


@dataclass(frozen=True, slots=True)
class RevisionDiff:
    """The difference between a revision and the working tree: both states, and the reason for each
    cell that changed; or the reason why they cannot be compared."""

    states: tuple[State, State] | None
    cells: Mapping[Cell, str]
    unknown: str | None = None

    def reason_for(self, library: Library, planned: PlannedCell) -> str | None:
        """Return why a library in a cell is affected apart from its own files; None if not."""
        if self.states is None:
            return self.unknown
        return self.cells.get(planned.cell) or library_change(library, *self.states)


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
        change.cell: f"the cell {change.verb}: {change.reasons[0]}" for change in changes(*both)
    }
    return RevisionDiff(both, reasons)


def _source_reason(library: Library, files: Sequence[str], diff: RevisionDiff) -> str | None:
    if library.source is not None:
        return source_change(library, *diff.states) if diff.states else None
    ignored = library.tests.ignore if library.tests else ()
    relevant = [file for file in of_library(files, library.path) if not is_ignored(file, ignored)]
    if not relevant:
        return None
    more = f" and {len(relevant) - 1} more" if len(relevant) > 1 else ""
    return f"`{relevant[0]}`{more} changed"
