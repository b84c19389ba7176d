"""`envmatrix build`: the images that cells need on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.commands import options
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import images
from envmatrix.plan.actions import Action, decide
from envmatrix.plan.environments import Environment, Image


@click.command(epilog="Example: envmatrix build --select cuda12-aarch64")
@options.select
@options.tier
@options.jobs
@click.option("--emulate", is_flag=True, help="Compile under emulation instead of crossing.")
@click.option("--force", is_flag=True, help="Build also what is up to date.")
@options.dry_run
@options.as_json
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    tier: str | None,
    jobs: int,
    emulate: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Build the images of the selected cells, or say why none is needed."""
    workspace = Workspace.here()
    options.warn_of_ends(workspace.cells(patterns, tier), workspace.matrix.facts, console)
    wanted = workspace.images(patterns, tier=tier, emulate=emulate)
    actions = planned(workspace, wanted, force=force)
    if as_json:
        options.print_json([row(action) for _, action in actions])
    if dry_run:
        if not as_json:
            show(actions)
        return
    build_images(workspace, actions, jobs, console)


def planned(
    workspace: Workspace, wanted: Sequence[Image], *, force: bool = False
) -> tuple[tuple[Environment, Action], ...]:
    """What to do with each image, and why."""
    inputs = workspace.plan(wanted)
    existing = images.labels([image.reference for image in wanted])
    actions = decide([its for _, its in inputs], existing, force=force)
    return tuple(zip((environment for environment, _ in inputs), actions, strict=True))


def build_images(
    workspace: Workspace,
    actions: Sequence[tuple[Environment, Action]],
    jobs: int,
    console: Console,
) -> None:
    """Carry out `actions`: what is up to date is only named."""
    for _, action in actions:
        if action.verb == "reuse":
            console.say(f"reuse    {action.image}: {action.reason}")
    wanted = [pair for pair in actions if pair[1].verb == "build"]
    if wanted:
        from envmatrix.engine.builder import Order, local_builder  # 0.2 s only a build pays

        orders = [
            Order(
                environment,
                action.inputs,
                workspace.dockerfile(environment.name),
                action.image.reference,
                action.reason,
            )
            for environment, action in wanted
        ]
        with local_builder(workspace.lock, console, options.host_arch()) as builder:
            builder.build(orders, jobs)


def row(action: Action) -> dict[str, object]:
    return {
        "image": action.image.reference,
        "platform": action.image.platform,
        "action": action.verb,
        "reason": action.reason,
        "fingerprint": action.inputs.fingerprint,
    }


def show(actions: Sequence[tuple[Environment, Action]]) -> None:
    for _, action in actions:
        click.echo(f"{action.verb:8} {action.image}: {action.reason}")
