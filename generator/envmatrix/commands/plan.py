"""`envmatrix plan`: what `build` would do, and why."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.commands import options
from envmatrix.commands.build import planned, row, show
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console


@click.command(epilog="Example: envmatrix plan --select 'cuda13*' --json")
@options.select
@options.as_json
@options.verbosity
def command(*, patterns: Sequence[str], as_json: bool, console: Console) -> None:
    """Show for each image whether it would be built or reused, with the reason."""
    workspace = Workspace.here()
    options.warn_of_ends(workspace.cells(patterns), workspace.matrix.facts, console)
    actions = planned(workspace, workspace.images(patterns))
    if as_json:
        options.print_json([row(action) for _, action in actions])
    else:
        show(actions)
