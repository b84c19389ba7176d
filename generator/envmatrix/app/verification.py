"""Rebuild images without a cache, and compare them with those that are built or published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.app.images import plan_actions, provide, published_references
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import bases
from envmatrix.engine.builder import Builder, Order, local_builder
from envmatrix.engine.docker_client import all_images
from envmatrix.engine.image_comparison import contents, image_differences
from envmatrix.engine.transfer import Transfer
from envmatrix.errors import EnvmatrixError
from envmatrix.images.model import Image
from envmatrix.machine.cache import cache_directory, record_checkout
from envmatrix.plan.actions import Inputs
from envmatrix.records import dataclass
from envmatrix.text import number_of

_SUFFIX = "-verify"


@dataclass(frozen=True, slots=True)
class Comparison:
    """An image and its rebuild. They are equal if layers and configuration are; the digests also
    depend on the engine's compressor."""

    image: str
    digest: str
    rebuilt_digest: str
    layers: tuple[str, ...]
    differences: tuple[str, ...]


def verify_images(
    workspace: Workspace,
    references: Mapping[Inputs, str],
    jobs: int,
    console: Console,
    *,
    with_bases: bool,
) -> Sequence[Comparison]:
    """Rebuild images without a cache, and bases if asked; compare them with `references`."""
    environments = workspace.environments(inputs.image.environment for inputs in references)
    orders = [
        Order(
            environments[inputs.image.environment],
            inputs,
            workspace.dockerfiles,
            (f"{inputs.reference}{_SUFFIX}",),
            "again, without a cache",
            anew=True,
            no_cache=True,
            compression=workspace.compression,
        )
        for inputs in references
    ]
    record_checkout(cache_directory(), workspace.root)
    with local_builder(workspace.lock, console) as builder:
        if with_bases:
            _verify_bases(builder, orders, console)
        try:
            builder.build(orders, jobs)
            pairs = zip(orders, references.values(), strict=True)
            return [_compare(builder, order, reference) for order, reference in pairs]
        finally:
            existing = {tag for image in all_images(builder.client) for tag in image.tags}
            for order in orders:
                if order.reference in existing:
                    builder.client.images.remove(order.reference, force=True)


def require_equal(comparisons: Sequence[Comparison]) -> None:
    """Raise EnvmatrixError with the differences if an image differs from its rebuild."""
    if different := [comparison for comparison in comparisons if comparison.differences]:
        details = [f"{image.image}: {line}" for image in different for line in image.differences]
        images = number_of(len(comparisons), "image")
        message = f"{len(different)} of {images} {'differs' if len(different) == 1 else 'differ'}"
        raise EnvmatrixError(message, details=details)


def built_references(
    workspace: Workspace, required: Sequence[Image], jobs: int, console: Console
) -> Mapping[Inputs, str]:
    """Build what is missing; return each image's reference in the engine."""
    actions = plan_actions(workspace, required, console)
    provide(workspace, actions, jobs, console)
    return {action.inputs: action.inputs.reference for action in actions}


def verified_references(workspace: Workspace, required: Sequence[Image]) -> Mapping[Inputs, str]:
    """Return each image's reference by the digest in `images.lock.json`; verify its signature if
    the matrix says who signs."""
    references = published_references(workspace, workspace.plan(required))
    if verifier := workspace.verifier:
        for reference in references.values():
            verifier(reference)
    return references


def _compare(builder: Builder, order: Order, reference: str) -> Comparison:
    with _fetched(builder, order, reference):
        image, rebuilt = (contents(builder.client, name) for name in (reference, order.reference))
        differences = image_differences(builder.client, reference, order.reference)
        return Comparison(reference, image.digest, rebuilt.digest, image.layers, differences)


def _fetched(builder: Builder, order: Order, reference: str) -> AbstractContextManager[None]:
    """Have a published image in the engine; one without a digest is already there."""
    if "@" not in reference:
        return nullcontext()
    transfer = Transfer(builder.client, builder.cache)
    return transfer.temporary_pull(reference, order.image.platform, lambda *_: None)


def _verify_bases(builder: Builder, orders: Sequence[Order], console: Console) -> None:
    """Bootstrap each base into an empty directory; `base_layout` compares it with the lock."""
    for key in sorted(base.key for base in builder.bases(orders)):
        package_set = builder.lock.sets[key]
        builder.fetcher.fetch(package_set.artifacts, console)
        store, epoch = builder.fetcher.store, builder.lock.epoch
        with (
            TemporaryDirectory(prefix="envmatrix-base-") as scratch,
            console.display() as display,
        ):
            bases.base_layout(
                Path(scratch), store, package_set, epoch, display, helper=builder.helper(key)
            )
        console.say(f"equal    {key} {package_set.diff_id}")
