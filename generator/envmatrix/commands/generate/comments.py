"""`envmatrix generate comments`: a workflow of GitHub Actions for commands in comments."""

from __future__ import annotations

import click

from envmatrix.app.generated_files import ConsumerRequest, write_consumer
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console


@click.command("comments", epilog="Example: envmatrix generate comments")
@options.verbosity
def command(*, console: Console) -> None:
    """Write a workflow of GitHub Actions that answers commands in comments on pull requests, and
    starts the workflow of `envmatrix generate github` for people who may."""
    write_consumer(Workspace.here(), ConsumerRequest("comments"), console)
