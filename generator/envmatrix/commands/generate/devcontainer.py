"""`envmatrix generate devcontainer`: files for editors, with published images."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.generated_files import ConsumerRequest, write_consumer
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console


@click.command(
    "devcontainer", epilog="Example: envmatrix generate devcontainer --select cuda12-aarch64"
)
@options.select
@options.verbosity
def command(*, patterns: Sequence[str], console: Console) -> None:
    """Write `.devcontainer/<environment>` for the selected cells, with the published image."""
    write_consumer(Workspace.here(), ConsumerRequest("devcontainer", tuple(patterns)), console)
