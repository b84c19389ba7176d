"""`envmatrix build`: the images that cells need on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from envmatrix.commands import options
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console, output
from envmatrix.engine import images
from envmatrix.errors import LookupFailed
from envmatrix.plan.actions import Action, Existing, Inputs, decide
from envmatrix.plan.images import Image
from envmatrix.store.artifacts import cache_directory
from envmatrix.store.checkouts import remember
from envmatrix.store.made import Made
from envmatrix.store.recipes import Recipes

if TYPE_CHECKING:
    from envmatrix.engine.buildx import Means


@click.command(epilog="Example: envmatrix build --select cuda12-aarch64")
@options.select
@options.tier
@options.jobs
@click.option("--emulate", is_flag=True, help="Compile under emulation instead of crossing.")
@click.option("--force", is_flag=True, help="Build also what is up to date.")
@click.option(
    "--builder",
    envvar="BUILDX_BUILDER",
    metavar="NAME",
    help="Build with this builder of `docker buildx`, on whatever machines it has.",
)
@click.option(
    "--cache-from",
    multiple=True,
    metavar="DIR|oci://REPOSITORY",
    help="Take layers that are not final from here.",
)
@click.option(
    "--cache-to",
    multiple=True,
    metavar="DIR|oci://REPOSITORY",
    help="Keep layers that are not final here.",
)
@click.option("--pull/--no-pull", default=True, help="Pull what is published, the default.")
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
    builder: str | None,
    cache_from: Sequence[str],
    cache_to: Sequence[str],
    pull: bool,
    dry_run: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Pull or build the images of the selected cells, or say why none is needed."""
    for option, places in (("--cache-from", cache_from), ("--cache-to", cache_to)):
        if invalid := [place for place in places if not place.removeprefix("oci://").strip("/")]:
            raise click.UsageError(
                f"{option} needs a directory or `oci://REPOSITORY`, not `{invalid[0]}`"
            )
    workspace = Workspace.here()
    options.warn_of_ends(workspace.cells(patterns, tier), workspace.matrix.facts, console)
    required = workspace.images(patterns, tier=tier, emulate=emulate)
    actions = plan_actions(workspace, required, console, force=force, pull=pull)
    if as_json:
        options.print_json([action_row(action) for action in actions])
    if dry_run:
        if not as_json:
            show_actions(actions)
        return
    from envmatrix.engine.buildx import Means

    other_builder = None if builder == "default" else builder
    means = Means(other_builder, tuple(cache_from), tuple(cache_to))
    provide(workspace, actions, jobs, console, means)


def plan_actions(
    workspace: Workspace,
    required: Sequence[Image],
    console: Console,
    *,
    force: bool = False,
    pull: bool = True,
) -> tuple[Action, ...]:
    """Decide what to do with each image, and why."""
    inputs = workspace.plan(required)
    own_images = Made.of_user()
    existing = Existing(images.local_images([image.reference for image in inputs]), own_images.has)
    missing = [image for image in inputs if not existing.has(image)]
    if missing:
        with ThreadPoolExecutor(1) as pool:
            previous = pool.submit(
                images.local_images, [image.image.reference for image in missing]
            )
            remote = find_published(workspace, missing, console) if pull else {}
        local = {**existing.local, **previous.result()}
        existing = Existing(local, own_images.has, remote, Recipes.of_user().find)
    return decide(inputs, existing, force=force)


def find_published(
    workspace: Workspace, images: Sequence[Inputs], console: Console
) -> dict[str, str]:
    """Return fingerprint -> image by digest for each image that the registry has; nothing if the
    registry cannot be reached."""
    repository = workspace.repository
    if repository is None:
        return {}
    from envmatrix.plan.publication import image_tag, registry_reference
    from envmatrix.store.registry import registry  # httpx: only where an image is missing

    lock = workspace.published
    names = {image_tag(image): registry_reference(image, lock) for image in images}
    is_its_own = all(index.repository == repository for _, _, index in lock)
    try:
        with registry(repository) as client:
            digests = client.digests_of(names, is_its_own=is_its_own)
    except LookupFailed as error:
        console.warn(f"{error.message}; what it may have is built here")
        return {}
    by_fingerprint = {image.fingerprint: digests.get(image_tag(image)) for image in images}
    return {key: f"{repository}@{digest}" for key, digest in by_fingerprint.items() if digest}


def provide(
    workspace: Workspace,
    actions: Sequence[Action],
    jobs: int,
    console: Console,
    means: Means | None = None,
) -> None:
    """Carry out `actions`; give images that are up to date their current names."""
    remember(cache_directory(), workspace.root)
    for action in actions:
        if action.verb == "reuse":
            console.say(f"reuse    {action.image}: {action.reason}")
    if renamed := [action for action in actions if not action.is_current]:
        images.name({action.inputs.reference: action.image.reference for action in renamed})
    pulls = [action for action in actions if action.verb == "pull"]
    if pulls:
        from envmatrix.engine.puller import local_puller

        with local_puller(workspace.verifier, console) as puller:
            puller.pull(pulls, jobs)
    builds = [action for action in actions if action.verb == "build"]
    if builds:
        from envmatrix.engine.builder import (
            Order,
            local_builder,
        )  # takes 0.2 s; only needed to build

        environments = workspace.environments(action.image.environment for action in builds)
        orders = [
            Order(
                environments[action.image.environment],
                action.inputs,
                workspace.dockerfile(action.image.environment),
                (action.inputs.reference, action.image.reference),
                action.reason,
                anew=action.rebuild,
            )
            for action in builds
        ]
        with local_builder(workspace.lock, console, means) as builder:
            builder.build(orders, jobs)


def action_row(action: Action) -> dict[str, object]:
    row: dict[str, object] = {
        "image": action.inputs.reference,
        "platform": action.image.platform,
        "action": action.verb,
        "reason": action.reason,
        "fingerprint": action.inputs.fingerprint,
    }
    return row | ({"published": action.published} if action.published else {})


def show_actions(actions: Sequence[Action]) -> None:
    for action in actions:
        output(f"{action.verb:8} {action.image}: {action.reason}")
