"""`envmatrix affected`: which libraries have to be built and tested again, in which cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from envmatrix.commands import display, options
from envmatrix.console import Console
from envmatrix.text import number_of


@click.command(epilog="Example: envmatrix affected --since origin/main --explain")
@click.option("--since", required=True, metavar="REV", help="A revision of the repository.")
@click.option("--explain", is_flag=True, help="Show also what is left out, and why.")
@options.select
@options.reporting
def command(
    *, since: str, explain: bool, patterns: Sequence[str], as_json: bool, console: Console
) -> None:
    """Show the libraries and cells that the changes since a revision affect, and why.

    If the changes cannot be determined, show all of them.
    """
    from envmatrix.app.revisions import pairs_since
    from envmatrix.app.workspace import Workspace

    pairs = list(pairs_since(Workspace.here(), patterns, since, console))
    affected = [pair for pair in pairs if pair.reason]
    lines = [f"affected {pair.library} in {pair.cell}: {pair.reason}" for pair in affected]
    if explain:
        rest = (pair for pair in pairs if not pair.reason)
        lines += [f"left out {pair.library} in {pair.cell}: nothing of it changed" for pair in rest]
    display.show([asdict(pair) for pair in affected], lines, as_json=as_json)
    if not as_json:
        libraries = number_of(len(pairs), "library in a cell", "libraries in cells")
        console.say(f"affected: {len(affected)} of {libraries}")
