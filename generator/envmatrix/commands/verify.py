"""`envmatrix verify`: the proof that images are a function of the lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from envmatrix.commands import options
from envmatrix.commands.build import planned, provide
from envmatrix.commands.pull import published as published_as
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console, output
from envmatrix.engine import bases
from envmatrix.engine.builder import Builder, Order, local_builder
from envmatrix.engine.comparison import contents, differences
from envmatrix.engine.transfer import Transfer
from envmatrix.errors import EnvmatrixError
from envmatrix.plan.actions import Inputs
from envmatrix.plan.environments import Environment
from envmatrix.plan.images import Image
from envmatrix.store.artifacts import cache_directory
from envmatrix.store.checkouts import remember

_SUFFIX = "-verify"


@click.command(epilog="Example: envmatrix verify cuda13.0-debian12")
@click.argument("patterns", nargs=-1, required=True, metavar="ENVIRONMENT...")
@click.option("--emulate", is_flag=True, help="Also what compiles under emulation.")
@click.option("--bases/--no-bases", "with_bases", default=True, help="Bootstrap bases again too.")
@click.option("--published", is_flag=True, help="Compare with the registry's, by digest.")
@options.jobs
@options.as_json
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    emulate: bool,
    with_bases: bool,
    published: bool,
    jobs: int,
    as_json: bool,
    console: Console,
) -> None:
    """Rebuild cold, beside what is there or published, and compare layers and configuration."""
    workspace = Workspace.here()
    wanted = workspace.images(patterns, emulate=emulate)
    targets = (
        _published(workspace, wanted) if published else _built(workspace, wanted, jobs, console)
    )
    environments = workspace.environments(its.image.environment for its in targets)
    orders = [_again(workspace, environments[its.image.environment], its) for its in targets]
    remember(cache_directory(), workspace.root)
    with local_builder(workspace.lock, console) as its:
        if with_bases:
            _verify_bases(its, orders, console)
        with _rebuilt(its, orders, jobs):
            found = [
                _compare(its, order, reference)
                for order, reference in zip(orders, targets.values(), strict=True)
            ]
    if as_json:
        options.print_json([asdict(one) for one in found])
    else:
        for one in found:
            output(f"{'differs' if one.differences else 'equal  '} {one.image} {one.digest}")
    if wrong := [one for one in found if one.differences]:
        details = [f"{one.image}: {line}" for one in wrong for line in one.differences]
        raise EnvmatrixError(f"{len(wrong)} of {len(found)} images differ", details=details)


@dataclass(frozen=True, slots=True)
class Comparison:
    """An image and its cold rebuild. Equal layers and configuration decide; the digests also
    depend on the engine's compressor."""

    image: str
    digest: str
    rebuilt_digest: str
    layers: tuple[str, ...]
    differences: tuple[str, ...]


def _built(
    workspace: Workspace, wanted: Sequence[Image], jobs: int, console: Console
) -> Mapping[Inputs, str]:
    """What is rebuilt, with what the engine calls the image that it is compared with."""
    actions = planned(workspace, wanted, console)
    provide(workspace, actions, jobs, console)
    return {its.inputs: its.inputs.reference for its in actions}


def _published(workspace: Workspace, wanted: Sequence[Image]) -> Mapping[Inputs, str]:
    """By the digests of `images.lock.json`; each signed, if the matrix says by whom."""
    targets = published_as(workspace, workspace.plan(wanted))
    if verifier := workspace.verifier:
        for reference in targets.values():
            verifier(reference)
    return targets


def _compare(its: Builder, order: Order, reference: str) -> Comparison:
    with _there(its, order, reference):
        found = contents(its.client, reference)
        return Comparison(
            image=reference,
            digest=found.digest,
            rebuilt_digest=contents(its.client, order.reference).digest,
            layers=found.layers,
            differences=differences(its.client, reference, order.reference),
        )


@contextmanager
def _there(its: Builder, order: Order, reference: str) -> Iterator[None]:
    if "@" not in reference:
        yield
        return
    with Transfer(its.client, its.cache).fetched(reference, order.image.platform, lambda *_: None):
        yield


def _again(workspace: Workspace, environment: Environment, inputs: Inputs) -> Order:
    """The same image, without any cache, under a name of its own."""
    return Order(
        environment,
        inputs,
        workspace.dockerfile(environment.name),
        (f"{inputs.reference}{_SUFFIX}",),
        "again, without a cache",
        anew=True,
        no_cache=True,
    )


@contextmanager
def _rebuilt(its: Builder, orders: Sequence[Order], jobs: int) -> Iterator[None]:
    """Build `orders`; their names go away at the end."""
    try:
        its.build(orders, jobs)
        yield
    finally:
        existing = {tag for image in its.client.images.list() for tag in image.tags}
        for order in orders:
            if order.reference in existing:
                its.client.images.remove(order.reference, force=True)


def _verify_bases(its: Builder, orders: Sequence[Order], console: Console) -> None:
    """Bootstrap each base into a directory of its own; `base_layout` compares it with the lock."""
    for key in sorted(base.key for base in its.bases(orders)):
        package_set = its.lock.sets[key]
        its.fetcher.fetch(package_set.artifacts, console)
        with TemporaryDirectory(prefix="envmatrix-base-") as scratch:
            bases.base_layout(Path(scratch), its.store, package_set, its.lock.epoch, console)
        console.say(f"equal    {key} {package_set.diff_id}")
