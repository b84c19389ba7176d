"""`envmatrix generate github`: the workflow of GitHub Actions that runs the pipeline."""

from __future__ import annotations

import click

from envmatrix.app.generated_files import ConsumerRequest, write_consumer
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console


@click.command("github", epilog="Example: envmatrix generate github")
@options.verbosity
def command(*, console: Console) -> None:
    """Write a workflow of GitHub Actions, which asks `envmatrix ci plan` for its jobs: the files
    are the same for any number of cells."""
    write_consumer(Workspace.here(), ConsumerRequest("github"), console)
