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
    library: str
    cell: str
    reason: str


@click.command(epilog="Example: envmatrix affected --since origin/main --explain")
@click.option("--since", required=True, metavar="REV", help="A revision of the repository.")
@click.option("--explain", is_flag=True, help="Also what is left out.")
@options.select
@options.as_json
@options.verbosity
def command(
    *, since: str, explain: bool, patterns: Sequence[str], as_json: bool, console: Console
) -> None:
    """Show the libraries and cells that what changed since a revision reaches, and why. Where
    that cannot be told, it is all of them."""
    workspace = Workspace.here()
    cells = {cell.id for cell in workspace.cells(patterns)}
    chosen = [planned for planned in workspace.matrix.cells if planned.id in cells]
    found = list(_affected(workspace, chosen, since, console))
    if as_json:
        options.print_json([asdict(its) for its in found])
        return
    for its in found:
        output(f"affected {its.library} in {its.cell}: {its.reason}")
    known = {(its.library, its.cell) for its in found}
    places = list(_places(workspace, chosen))
    if explain:
        for library, planned in places:
            if (library.name, planned.id) not in known:
                output(f"left out {library.name} in {planned.id}: nothing of it changed")
    console.say(f"{len(found)} of {len(places)} libraries in cells are affected")


def _places(
    workspace: Workspace, cells: Sequence[PlannedCell]
) -> Iterator[tuple[Library, PlannedCell]]:
    matrix = workspace.matrix
    for planned in cells:
        yield from ((its, planned) for its in matrix.libraries if is_for(its, planned, matrix))


def _affected(
    workspace: Workspace, cells: Sequence[PlannedCell], since: str, console: Console
) -> Iterator[Affected]:
    files = changed_files(workspace.root, since)
    known = compared(workspace, since, console)
    for library, planned in _places(workspace, cells):
        reason = known.why_all(library, planned) or _of_files(library, files, known)
        if reason:
            yield Affected(library.name, planned.id, reason)


@dataclass(frozen=True, slots=True)
class Compared:
    """A revision and the working tree: what both have, and why which cells are others; or why that
    cannot be told."""

    states: tuple[State, State] | None
    cells: Mapping[Cell, str]
    unknown: str | None = None

    def why_all(self, library: Library, planned: PlannedCell) -> str | None:
        """Why everything of a library in a cell may be another, whatever its files are."""
        if self.states is None:
            return self.unknown
        return self.cells.get(planned.cell) or library_change(library, *self.states)


def compared(workspace: Workspace, since: str, console: Console) -> Compared:
    """Compare a revision with the working tree; ConfigurationError where there is no such one."""
    try:
        found = states(workspace, since, console)
    except ConfigurationError as error:
        if error.problems[0].message.startswith("revision "):
            raise
        return Compared(None, {}, f"the matrix at `{since}` cannot be read")
    except EnvmatrixError as error:
        return Compared(None, {}, error.message)
    rows = {its.cell: f"the cell {its.verb}: {its.reasons[0]}" for its in changes(*found)}
    return Compared(found, rows)


def _of_files(library: Library, files: Sequence[str], known: Compared) -> str | None:
    if library.source is not None:
        return source_change(library, *known.states) if known.states else None
    ignored = library.tests.ignore if library.tests else ()
    relevant = [file for file in of_library(files, library.path) if not is_ignored(file, ignored)]
    if not relevant:
        return None
    more = f" and {len(relevant) - 1} more" if len(relevant) > 1 else ""
    return f"`{relevant[0]}`{more} changed"
