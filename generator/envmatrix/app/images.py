"""The images that cells need on this machine: planned, and then pulled or built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import image_store
from envmatrix.errors import LookupFailed, OutOfDate
from envmatrix.images.model import Image
from envmatrix.lock.files import IMAGES_LOCK
from envmatrix.machine.cache import cache_directory, record_checkout
from envmatrix.machine.resources import BUILDS
from envmatrix.plan.actions import Action, Existing, Inputs, decide
from envmatrix.store.image_records import ImageRecords
from envmatrix.text import number_of

if TYPE_CHECKING:
    from envmatrix.engine.buildx import BuildOptions


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
    existing, missing = _look_up(inputs)
    if missing:
        from concurrent.futures import ThreadPoolExecutor

        names = [image.image.reference for image in missing]
        with ThreadPoolExecutor(1) as pool:
            previous = pool.submit(image_store.local_images, names)
            published = _find_published(workspace, missing, console) if pull else {}
        local = {**existing.local, **previous.result()}
        record = ImageRecords.of_user().find_contents
        existing = replace(existing, local=local, published=published, record=record)
    return decide(inputs, existing, force=force)


def _look_up(required: Sequence[Inputs]) -> tuple[Existing, Sequence[Inputs]]:
    """Return the images that the engine has, and those that it lacks."""
    local = image_store.local_images([inputs.reference for inputs in required])
    existing = Existing(local, ImageRecords.of_user().has)
    has = existing.has
    return existing, [image for image in required if not has(image.reference, image.fingerprint)]


def provide_images(
    workspace: Workspace, required: Sequence[Image], console: Console
) -> Mapping[Image, str]:
    """Pull or build the images that are missing; return the engine's name of each."""
    actions = plan_actions(workspace, required, console)
    provide(workspace, actions, BUILDS, console)
    return {action.inputs.image: action.inputs.reference for action in actions}


def _find_published(
    workspace: Workspace, images: Sequence[Inputs], console: Console
) -> dict[str, str]:
    """Return fingerprint -> image by digest for each image that the registry has; nothing if the
    registry cannot be reached."""
    repository = workspace.repository
    if repository is None:
        return {}
    from envmatrix.plan.publication import image_tag, registry_reference
    from envmatrix.registry.client import open_registry

    lock = workspace.published
    names = {image_tag(image): registry_reference(image, lock) for image in images}
    is_its_own = all(index.repository == repository for _, _, index in lock)
    try:
        with open_registry(repository) as client:
            digests = client.digests_of(names, is_its_own=is_its_own)
    except LookupFailed as error:
        console.warn(f"{error.message}; what it may have is built here")
        return {}
    return {
        image.fingerprint: f"{repository}@{digest}"
        for image in images
        if (digest := digests.get(image_tag(image)))
    }


def provide(
    workspace: Workspace,
    actions: Sequence[Action],
    jobs: int,
    console: Console,
    build_options: BuildOptions | None = None,
) -> None:
    """Carry out `actions`; give images that are up to date their current names."""
    record_checkout(cache_directory(), workspace.root)
    for action in actions:
        if action.verb == "reuse":
            console.say(f"reuse    {action.inputs.image}: {action.reason}")
    renamed = [action.inputs for action in actions if not action.is_current]
    if renamed:
        image_store.name({image.reference: image.image.reference for image in renamed})
    pulls = [action for action in actions if action.verb == "pull"]
    if pulls:
        from envmatrix.publishing.puller import local_puller

        with local_puller(workspace.verifier, console) as puller:
            puller.pull(pulls, jobs)
    builds = [action for action in actions if action.verb == "build"]
    if builds:
        from envmatrix.engine.builder import Order, local_builder  # takes 0.2 s

        environments = workspace.environments(action.inputs.image.environment for action in builds)
        orders = [
            Order(
                environments[action.inputs.image.environment],
                action.inputs,
                workspace.dockerfiles,
                (action.inputs.reference, action.inputs.image.reference),
                action.reason,
                anew=action.rebuild,
                compression=workspace.compression,
            )
            for action in builds
        ]
        with local_builder(workspace.lock, console, build_options) as builder:
            builder.build(orders, jobs)


def fetch_files(workspace: Workspace, key: str, console: Console) -> None:
    """Download the files of a set of the lock that the store lacks."""
    from envmatrix.store.mirrors import fetcher_of_user

    record_checkout(cache_directory(), workspace.root)
    with fetcher_of_user(console.warn, workspace.lock.epoch) as fetcher:
        fetcher.fetch(workspace.lock.sets[key].files, console)


def make_base(workspace: Workspace, key: str, console: Console) -> None:
    """Bootstrap the base of a set of the lock, and have it in the engine."""
    from envmatrix.engine.builder import local_builder

    record_checkout(cache_directory(), workspace.root)
    with local_builder(workspace.lock, console) as builder, console.display() as display:
        builder.fetch([key], console)
        builder.make_base(key, display)


def published_references(workspace: Workspace, required: Sequence[Inputs]) -> Mapping[Inputs, str]:
    """Return each image's published reference by digest; raise OutOfDate if one is not
    published."""
    references, unpublished = {}, []
    for inputs in required:
        image = inputs.image
        index = workspace.published.find(image.environment, image.name)
        published = index.images.get(image.arch) if index else None
        if index and published and published.fingerprint == inputs.fingerprint:
            repository = workspace.repository or index.repository
            references[inputs] = f"{repository}@{published.digest}"
        else:
            reason = "has other inputs there" if published else "is not in it"
            unpublished.append(f"{image} {reason}")
    if unpublished:
        message = f"`{IMAGES_LOCK}` does not have {number_of(len(unpublished), 'image')}"
        hint = "build and publish them: `envmatrix build`, `envmatrix push`"
        raise OutOfDate(message, details=unpublished, hint=hint)
    return references


def plan_pulls(
    workspace: Workspace, patterns: Sequence[str], tier: str | None
) -> tuple[Action, ...]:
    """Plan to pull each missing image by digest; raise OutOfDate if one is not published."""
    required = workspace.plan(workspace.images(patterns, tier=tier))
    existing, missing = _look_up(required)
    references = published_references(workspace, missing)
    reason = f"as `{IMAGES_LOCK}` names it"
    pulls = {image: Action(image, "pull", reason, name) for image, name in references.items()}
    return tuple(pulls.get(action.inputs, action) for action in decide(required, existing))
