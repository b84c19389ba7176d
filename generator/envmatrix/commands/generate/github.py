"""`envmatrix generate github`: a workflow of GitHub Actions, with published images."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.generated_files import ConsumerRequest, write_consumer
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console


@click.command("github", epilog="Example: envmatrix generate github --tier pr")
@options.select
@options.tier
@options.verbosity
def command(*, patterns: Sequence[str], tier: str | None, console: Console) -> None:
    """Write a workflow of GitHub Actions that tests the selected cells in published images."""
    write_consumer(Workspace.here(), ConsumerRequest("github", tuple(patterns), tier), console)
