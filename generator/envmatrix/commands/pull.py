"""`envmatrix pull`: the images of cells, as `images.lock.json` names them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.images import provide, published_references
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.commands.build import action_row, show_actions
from envmatrix.console import Console
from envmatrix.engine import image_store
from envmatrix.lock.images_lock import FILE
from envmatrix.plan.actions import Action, Existing, Inputs
from envmatrix.store.image_ids import Made


@click.command(epilog="Example: envmatrix pull --select cuda12-aarch64 --verify")
@options.select
@options.tier
@options.jobs
@click.option("--verify", is_flag=True, help="Fail unless matrix.yaml says who signs images.")
@options.dry_run
@options.as_json
@options.verbosity
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
    actions = _pulls(workspace, patterns, tier)
    if as_json:
        options.print_json([action_row(action) for action in actions])
    elif dry_run:
        show_actions(actions)
    if not dry_run:
        provide(workspace, actions, jobs, console)


def _pulls(workspace: Workspace, patterns: Sequence[str], tier: str | None) -> tuple[Action, ...]:
    """Plan to pull each missing image by digest; raise OutOfDate if one is not published."""
    required = workspace.plan(workspace.images(patterns, tier=tier))
    existing = Existing(
        image_store.local_images([inputs.reference for inputs in required]), Made.of_user().has
    )
    references = published_references(
        workspace, [inputs for inputs in required if not existing.has(inputs)]
    )

    def action(inputs: Inputs) -> Action:
        if inputs not in references:
            is_current = existing.has_current_name(inputs)
            return Action(inputs, "reuse", "up to date", is_current=is_current)
        return Action(inputs, "pull", f"as `{FILE}` names it", references[inputs])

    return tuple(action(inputs) for inputs in required)
