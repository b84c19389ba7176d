"""`envmatrix serve`: serve the dashboard with the current results."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.commands import options
from envmatrix.console import Console, output


@click.command(epilog="Example: envmatrix serve --port 8000")
@options.select
@options.library
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
    from envmatrix.app.reports import open_dashboard, scope_of  # SQLAlchemy
    from envmatrix.app.workspace import Workspace

    workspace = Workspace.here()
    scope = scope_of(workspace, patterns, libraries, since, options.today())
    with open_dashboard(workspace, scope, port, console) as server:
        output(f"http://127.0.0.1:{server.server_port}/")
        console.say("press Ctrl+C to stop")
        server.serve_forever()
