"""`envmatrix generate gitlab`: a template of GitLab CI that plans its jobs when it runs."""

from __future__ import annotations

import click

from envmatrix.app.generated_files import ConsumerRequest, write_consumer
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console


@click.command("gitlab", epilog="Example: envmatrix generate gitlab")
@options.verbosity
def command(*, console: Console) -> None:
    """Write `.gitlab/envmatrix.yml`, which `.gitlab-ci.yml` includes: it plans the jobs, and runs
    them in a child pipeline."""
    write_consumer(Workspace.here(), ConsumerRequest("gitlab"), console)
