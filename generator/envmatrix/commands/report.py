"""`envmatrix report`: what the results say, for people and for programs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from datetime import time as midnight
from pathlib import Path

import click

from envmatrix.commands import options
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console, output, output_json
from envmatrix.engine.revisions import committed
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix.suggest import did_you_mean
from envmatrix.results import formats
from envmatrix.results.composition import Scope, compose
from envmatrix.results.journal import waiting
from envmatrix.results.location import Location
from envmatrix.results.site import ASSETS, Site, asset
from envmatrix.results.summary import Report
from envmatrix.results.waiver_file import load_waivers

# What a directory with a dashboard has.
MARKER = "index.html"


@click.command(epilog="Example: envmatrix report --since origin/main")
@options.select
@click.option("--library", "libraries", multiple=True, metavar="NAME", help="Only this library.")
@click.option("--since", metavar="REV|DAY", help="What broke since a revision or a day.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "markdown", "junit", "json"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option("--check", is_flag=True, help="Exit with 1 if something fails that is not waived.")
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="DIR", help="Write the dashboard into DIR."
)
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    libraries: Sequence[str],
    since: str | None,
    style: str,
    check: bool,
    html: Path | None,
    console: Console,
) -> None:
    """Show the newest result of every library in every cell; what fails, since when and whether it
    is waived; what is flaky, and what became slower."""
    workspace = Workspace.here()
    scope = scope_of(workspace, patterns, libraries, since)
    if html is not None:
        _write(html, workspace, scope, console)
        return
    report = composed(workspace, scope)
    (output_json if style == "json" else output)(_PRINTERS[style](report))
    if not report.entries:
        console.say("nothing has run yet: `envmatrix run test CELL`, or `nox -s test-CELL`")
    if check and report.unwaived:
        raise click.exceptions.Exit(1)


def scope_of(
    workspace: Workspace,
    patterns: Sequence[str],
    libraries: Sequence[str],
    since: str | None = None,
) -> Scope:
    """What a report is about. A cell or library that is in no matrix any more is left out unless it
    is all that there is."""
    known = [library.name for library in workspace.matrix.libraries]
    for name in libraries:
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {', '.join(known) or 'none'}"
            raise ConfigurationError(Problem(f"matrix.yaml has no library `{name}`", hint=hint))
    cells = {cell.id for cell in workspace.cells(patterns)} if patterns else None
    return Scope(
        today=options.today(),
        now=time.time(),
        waivers=load_waivers(workspace.root),
        libraries=set(libraries) or None,
        cells=cells,
        since=_moment(workspace.root, since) if since else None,
        since_name=since,
    )


def composed(workspace: Workspace, scope: Scope) -> Report:
    """The report, with what has ended and was not stored yet."""
    location = Location.of(workspace.root)
    with location.opened() as database, database.reading() as connection:
        return compose(connection, scope, waiting(location.journals))


def _write(directory: Path, workspace: Workspace, scope: Scope, console: Console) -> None:
    """Pages that need no server; what an earlier dashboard left in `directory` goes."""
    if directory.exists() and any(directory.iterdir()) and not (directory / MARKER).exists():
        raise ConfigurationError(
            Problem(f"`{directory}` has files that are no dashboard", hint="name another directory")
        )
    for name in ("cell", "run"):
        shutil.rmtree(directory / name, ignore_errors=True)
    location = Location.of(workspace.root)
    with location.opened() as database, database.reading() as connection:
        cells = tuple(cell.id for cell in workspace.matrix.cells)
        site = Site(connection, scope, cells, waiting(location.journals))
        paths = list(site.paths())
        with console.task("pages", total=len(paths), unit="pages") as advance:
            for path in paths:
                file = directory / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(site.page(path) or "", encoding="utf-8")
                advance(1)
    for name in ASSETS:
        (directory / name).write_bytes(asset(name))
    output(str(directory / MARKER))


def _moment(root: Path, since: str) -> float:
    """A day's beginning, or when a revision was committed, in seconds since 1970."""
    try:
        return datetime.combine(date.fromisoformat(since), midnight()).timestamp()
    except ValueError:
        return committed(root, since)


def _json(report: Report) -> str:
    return json.dumps(formats.document(report), indent=2)


_PRINTERS: Mapping[str, Callable[[Report], str]] = {
    "text": formats.text,
    "markdown": formats.markdown,
    "junit": formats.junit,
    "json": _json,
}
