"""`envmatrix generate jenkins`: a Jenkinsfile and its shared library."""

from __future__ import annotations

import click

from envmatrix.app.generated_files import ConsumerRequest, write_consumer
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console


@click.command("jenkins", epilog="Example: envmatrix generate jenkins")
@options.verbosity
def command(*, console: Console) -> None:
    """Write a Jenkinsfile that runs the jobs of the plan, its shared library, and a multibranch job
    for Jenkins Job Builder."""
    write_consumer(Workspace.here(), ConsumerRequest("jenkins"), console)
