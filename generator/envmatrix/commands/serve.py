"""`envmatrix serve`: serve the dashboard with the current results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.commands.report import scope_of
from envmatrix.console import Console, output
from envmatrix.errors import EnvmatrixError
from envmatrix.results.journal import count_journals
from envmatrix.results.location import Location
from envmatrix.results.server import server
from envmatrix.results.site import Site


@click.command(epilog="Example: envmatrix serve --port 8000")
@options.select
@click.option("--library", "libraries", multiple=True, metavar="NAME", help="Only this library.")
@click.option("--since", metavar="REV|DAY", help="Show what broke since a revision or a day.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    libraries: Sequence[str],
    since: str | None,
    port: int,
    console: Console,
) -> None:
    """Serve the dashboard on 127.0.0.1 until interrupted; each request shows current results."""
    workspace = Workspace.here()
    scope = scope_of(workspace, patterns, libraries, since)
    location = Location.of(workspace.root)
    cells = tuple(cell.id for cell in workspace.matrix.cells)
    with location.open_store(console.warn) as database:

        def page(path: str) -> str | None:
            location.replay(database, console.warn)
            with database.reading() as connection:
                now = replace(scope, now=time.time())
                return Site(connection, now, cells, count_journals(location.journals)).page(path)

        try:
            serving = server(port, page)
        except OSError as error:
            raise EnvmatrixError(
                f"port {port} cannot be had: {error.strerror}", hint="name another: `--port 0`"
            ) from error
        with serving:
            output(f"http://127.0.0.1:{serving.server_port}/")
            console.say("press Ctrl+C to stop")
            serving.serve_forever()
