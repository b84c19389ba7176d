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
        if wrong := [place for place in places if not place.removeprefix("oci://").strip("/")]:
            raise click.UsageError(
                f"{option} needs a directory or `oci://REPOSITORY`, not `{wrong[0]}`"
            )
    workspace = Workspace.here()
    options.warn_of_ends(workspace.cells(patterns, tier), workspace.matrix.facts, console)
    wanted = workspace.images(patterns, tier=tier, emulate=emulate)
    actions = planned(workspace, wanted, console, force=force, pull=pull)
    if as_json:
        options.print_json([row(action) for action in actions])
    if dry_run:
        if not as_json:
            show(actions)
        return
    from envmatrix.engine.buildx import Means

    elsewhere = None if builder == "default" else builder
    means = Means(elsewhere, tuple(cache_from), tuple(cache_to))
    provide(workspace, actions, jobs, console, means)


def planned(
    workspace: Workspace,
    wanted: Sequence[Image],
    console: Console,
    *,
    force: bool = False,
    pull: bool = True,
) -> tuple[Action, ...]:
    """What to do with each image, and why."""
    inputs = workspace.plan(wanted)
    made = Made.of_user()
    existing = Existing(images.there([its.reference for its in inputs]), made.has)
    lacking = [its for its in inputs if not existing.has(its)]
    if lacking:
        with ThreadPoolExecutor(1) as pool:
            last = pool.submit(images.there, [its.image.reference for its in lacking])
            there = published(workspace, lacking, console) if pull else {}
        local = {**existing.local, **last.result()}
        existing = Existing(local, made.has, there, Recipes.of_user().find)
    return decide(inputs, existing, force=force)


def published(workspace: Workspace, wanted: Sequence[Inputs], console: Console) -> dict[str, str]:
    """Fingerprint -> image by digest, of those that the registry has; none where it is away."""
    repository = workspace.repository
    if repository is None:
        return {}
    from envmatrix.plan.publication import image_tag, registry_reference
    from envmatrix.store.registry import registry  # httpx: not where all is there

    lock = workspace.published
    names = {image_tag(its): registry_reference(its, lock) for its in wanted}
    is_its_own = all(index.repository == repository for _, _, index in lock)
    try:
        with registry(repository) as client:
            digests = client.digests_of(names, is_its_own=is_its_own)
    except LookupFailed as error:
        console.warn(f"{error.message}; what it may have is built here")
        return {}
    found = {its.fingerprint: digests.get(image_tag(its)) for its in wanted}
    return {its: f"{repository}@{digest}" for its, digest in found.items() if digest}


def provide(
    workspace: Workspace,
    actions: Sequence[Action],
    jobs: int,
    console: Console,
    means: Means | None = None,
) -> None:
    """Carry out `actions`: what is up to date is only named."""
    remember(cache_directory(), workspace.root)
    for action in actions:
        if action.verb == "reuse":
            console.say(f"reuse    {action.image}: {action.reason}")
    if renamed := [its for its in actions if not its.is_current]:
        images.name({its.inputs.reference: its.image.reference for its in renamed})
    pulls = [action for action in actions if action.verb == "pull"]
    if pulls:
        from envmatrix.engine.puller import local_puller

        with local_puller(workspace.verifier, console) as puller:
            puller.pull(pulls, jobs)
    builds = [action for action in actions if action.verb == "build"]
    if builds:
        from envmatrix.engine.builder import Order, local_builder  # 0.2 s only a build pays

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


def row(action: Action) -> dict[str, object]:
    found: dict[str, object] = {
        "image": action.inputs.reference,
        "platform": action.image.platform,
        "action": action.verb,
        "reason": action.reason,
        "fingerprint": action.inputs.fingerprint,
    }
    return found | ({"published": action.published} if action.published else {})


def show(actions: Sequence[Action]) -> None:
    for action in actions:
        output(f"{action.verb:8} {action.image}: {action.reason}")
