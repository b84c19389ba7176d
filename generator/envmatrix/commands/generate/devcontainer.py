"""`envmatrix generate devcontainer`: files for editors, with published or local images."""

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
@click.option("--local", "is_local", is_flag=True, help="Without a registry, for each library.")
@options.select
@options.verbosity
def command(*, patterns: Sequence[str], is_local: bool, console: Console) -> None:
    """Write `.devcontainer/<environment>` for the selected cells, with the published image; with
    --local `.devcontainer/<cell>-<library>`, with the image that is built on this machine."""
    request = ConsumerRequest("devcontainer", tuple(patterns), is_local=is_local)
    write_consumer(Workspace.here(), request, console)
