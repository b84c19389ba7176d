"""`envmatrix plan`: show what `build` would do, and why; or a tier; or the changes since a
revision."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.images import plan_actions
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options, plan_tier
from envmatrix.commands.build import action_row, show_actions
from envmatrix.console import Console


@click.command(epilog="Example: envmatrix plan --select 'cuda13*' --json")
@options.select
@options.tier
@click.option(
    "--diff",
    "revision",
    metavar="REV",
    help="Show the cells that come, go or change since this git revision instead.",
)
@options.as_json
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    tier: str | None,
    revision: str | None,
    as_json: bool,
    console: Console,
) -> None:
    """Show for each image whether it would be reused, pulled or built, with the reason.

    With --tier, show why the tier has each of its cells, and what it leaves uncovered; that needs
    no engine. `envmatrix build --tier TIER --dry-run` shows its images.
    """
    if tier is not None and revision is not None:
        raise click.UsageError("--tier and --diff show different things; give one of them")
    workspace = Workspace.here()
    if revision is not None:
        from envmatrix.commands import plan_diff

        plan_diff.show_diff(workspace, revision, patterns, console, as_json=as_json)
        return
    options.warn_of_ends(workspace.cells(patterns, tier), workspace.matrix.facts, console)
    if tier is not None:
        plan_tier.show_tier(workspace.matrix, tier, patterns, as_json=as_json)
        return
    actions = plan_actions(workspace, workspace.images(patterns), console)
    if as_json:
        options.print_json([action_row(action) for action in actions])
    else:
        show_actions(actions)
