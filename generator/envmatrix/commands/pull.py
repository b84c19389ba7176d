"""`envmatrix pull`: the images of cells, as `images.lock.json` names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from envmatrix.commands import options
from envmatrix.commands.build import provide, row, show
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import images
from envmatrix.errors import OutOfDate
from envmatrix.lock.images import FILE
from envmatrix.plan.actions import Action, Existing, Inputs
from envmatrix.store.made import Made


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

    Where matrix.yaml says who signs images, one that is not signed so is refused.
    """
    workspace = Workspace.here()
    if verify:
        workspace.require_signer()
    actions = _pulls(workspace, patterns, tier)
    if as_json:
        options.print_json([row(action) for action in actions])
    elif dry_run:
        show(actions)
    if not dry_run:
        provide(workspace, actions, jobs, console)


def _pulls(workspace: Workspace, patterns: Sequence[str], tier: str | None) -> tuple[Action, ...]:
    """Every image that is not here, by digest; OutOfDate where one is not published."""
    wanted = workspace.plan(workspace.images(patterns, tier=tier))
    existing = Existing(images.there([its.reference for its in wanted]), Made.of_user().has)
    digests = published(workspace, [its for its in wanted if not existing.has(its)])

    def action(its: Inputs) -> Action:
        if its not in digests:
            return Action(its, "reuse", "up to date", is_current=existing.has_current_name(its))
        return Action(its, "pull", f"as `{FILE}` names it", digests[its])

    return tuple(action(its) for its in wanted)


def published(workspace: Workspace, wanted: Sequence[Inputs]) -> Mapping[Inputs, str]:
    """Each with its image by digest; OutOfDate where one is not published."""
    found, unpublished = {}, []
    for its in wanted:
        image = its.image
        index = workspace.published.find(image.environment, image.flavour)
        one = index.images.get(image.arch) if index else None
        if index and one and one.fingerprint == its.fingerprint:
            repository = workspace.repository or index.repository
            found[its] = f"{repository}@{one.digest}"
        else:
            why = "has other inputs there" if one else "is not in it"
            unpublished.append(f"{image} {why}")
    if unpublished:
        raise OutOfDate(
            f"`{FILE}` does not have {len(unpublished)} images",
            details=unpublished,
            hint="build and publish them: `envmatrix build`, `envmatrix push`",
        )
    return found
