"""`envmatrix pull`: the images of cells, as `images.lock.json` names them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.images import plan_pulls, provide
from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.console import Console


@click.command(epilog="Example: envmatrix pull --select cuda12-aarch64 --verify")
@options.select
@options.tier
@options.jobs
@click.option("--verify", is_flag=True, help="Fail unless matrix.yaml says who signs images.")
@options.dry_run
@options.reporting
def command(
    *,
    patterns: Sequence[str],
    tier: str | None,
    jobs: int,
    verify: bool,
    dry_run: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Pull the images of the selected cells by the digests of `images.lock.json`; build nothing.

    If matrix.yaml says who signs images, refuse any image without that signature.
    """
    workspace = Workspace.here()
    if verify:
        workspace.require_signer()
    actions = plan_pulls(workspace, patterns, tier)
    if as_json or dry_run:
        display.show_actions(actions, as_json=as_json)
    if not dry_run:
        provide(workspace, actions, jobs, console)
