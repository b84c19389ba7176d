"""`envmatrix verify`: the proof that images are a function of the lock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from envmatrix.commands import options
from envmatrix.commands.build import build_images, planned
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import bases
from envmatrix.engine.builder import Builder, Order, local_builder
from envmatrix.engine.comparison import contents, differences
from envmatrix.errors import EnvmatrixError
from envmatrix.plan.actions import Action
from envmatrix.plan.environments import Environment

_SUFFIX = "-verify"


@click.command(epilog="Example: envmatrix verify cuda13.0-debian12")
@click.argument("patterns", nargs=-1, required=True, metavar="ENVIRONMENT...")
@click.option("--emulate", is_flag=True, help="Also what compiles under emulation.")
@click.option("--bases/--no-bases", "with_bases", default=True, help="Bootstrap bases again too.")
@options.jobs
@options.as_json
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    emulate: bool,
    with_bases: bool,
    jobs: int,
    as_json: bool,
    console: Console,
) -> None:
    """Rebuild cold, beside what is there, and compare layers and configuration."""
    workspace = Workspace.here()
    actions = planned(workspace, workspace.images(patterns, emulate=emulate))
    build_images(workspace, actions, jobs, console)
    with local_builder(workspace.lock, console, options.host_arch()) as its:
        if with_bases:
            _verify_bases(its, [environment for environment, _ in actions], console)
        with _rebuilt(workspace, its, actions, jobs) as orders:
            rows = [_compare(its, order) for order in orders]
    if as_json:
        options.print_json(rows)
    else:
        for row in rows:
            state = "differs" if row["differences"] else "equal  "
            click.echo(f"{state} {row['image']} {row['digest']}")
    if wrong := [row for row in rows if row["differences"]]:
        details = [f"{row['image']}: {line}" for row in wrong for line in _lines(row)]
        raise EnvmatrixError(f"{len(wrong)} of {len(rows)} images differ", details=details)


def _lines(row: dict[str, object]) -> Sequence[str]:
    found = row["differences"]
    assert isinstance(found, list)  # noqa: S101 -- made below
    return found


def _compare(its: Builder, order: Order) -> dict[str, object]:
    reference = order.image.reference
    found = contents(its.client, reference)
    return {
        "image": reference,
        "digest": found.digest,
        "layers": list(found.layers),
        "differences": list(differences(its.client, reference, order.reference)),
    }


@contextmanager
def _rebuilt(
    workspace: Workspace,
    its: Builder,
    actions: Sequence[tuple[Environment, Action]],
    jobs: int,
) -> Iterator[Sequence[Order]]:
    """Every image again, without any cache, under a name of its own that goes away."""
    orders = [
        Order(
            environment,
            action.inputs,
            workspace.dockerfile(environment.name),
            f"{action.image.reference}{_SUFFIX}",
            "again, without a cache",
            no_cache=True,
        )
        for environment, action in actions
    ]
    try:
        its.build(orders, jobs)
        yield orders
    finally:
        existing = {tag for image in its.client.images.list() for tag in image.tags}
        for order in orders:
            if order.reference in existing:
                its.client.images.remove(order.reference, force=True)


def _verify_bases(its: Builder, environments: Sequence[Environment], console: Console) -> None:
    """Bootstrap each base into a directory of its own; `base_layout` compares it with the lock."""
    keys = sorted({base.key for environment in environments for base in environment.bases})
    for key in keys:
        package_set = its.lock.sets[key]
        its.fetcher.fetch(package_set.artifacts, console)
        with TemporaryDirectory(prefix="envmatrix-base-") as scratch:
            bases.base_layout(Path(scratch), its.store, package_set, its.lock.epoch, console)
        console.say(f"equal    {key} {package_set.diff_id}")
