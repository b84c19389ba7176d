"""`envmatrix push`: publish what was built, and write down what is published."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from envmatrix.commands import options
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console, output
from envmatrix.engine import images
from envmatrix.engine.cosign import Cosign
from envmatrix.errors import EnvmatrixError
from envmatrix.lock.images import save
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import indexes_of
from envmatrix.store.artifacts import cache_directory
from envmatrix.store.made import Made

if TYPE_CHECKING:
    from envmatrix.engine.publisher import Survey


@click.command(epilog="Example: envmatrix push --select cuda12-aarch64")
@options.select
@options.jobs
@click.option("--sign", is_flag=True, help="Sign what is published, with `cosign`.")
@click.option(
    "--key",
    metavar="FILE",
    help="What to sign with: the private half of the key that matrix.yaml names.",
)
@options.dry_run
@options.as_json
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    jobs: int,
    sign: bool,
    key: str | None,
    dry_run: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Push the images of the selected cells' environments that the registry lacks.

    A flavour is published when the images of all its architectures are there, from whatever
    machine; `images.lock.json` says which are, by digest. What is in each, and how it came to be,
    is published beside it.
    """
    from envmatrix.engine.accompaniment import Accompaniment, made_here
    from envmatrix.engine.publisher import Publisher
    from envmatrix.store.registry import registry

    if key and not sign:
        raise click.UsageError("--key is what to --sign with")
    workspace = Workspace.here()
    repository = workspace.required_repository
    cosign = Cosign(workspace.require_signer(), workspace.root, key) if sign else None
    inputs = workspace.plan(workspace.images_of_hosts(patterns))
    wanted = indexes_of(inputs)
    with images.engine() as client, registry(repository) as remote:
        beside = Accompaniment(
            remote,
            workspace.environments(its.image.environment for its in inputs),
            workspace.lock,
            made_here(workspace.root, os.environ),
            cosign,
        )
        publisher = Publisher(
            client, remote, cache_directory(), Made.of_user(), beside.publish, console
        )
        survey = publisher.survey(wanted)
        if dry_run:
            _show(survey, as_json=as_json)
            return
        done = publisher.publish(wanted, survey, jobs)
    lock = workspace.published.with_published(
        {(index.environment, index.flavour): its for index, its in done.items()},
        {cell.cell.environment for cell in workspace.matrix.cells},
    )
    save(lock, workspace.root)
    ours = set(workspace.images(patterns))
    _show(survey, as_json=as_json)
    if missing := [str(its.image) for its in survey.lacking if its.image in ours]:
        raise EnvmatrixError(
            f"{len(missing)} images of this machine are not built",
            details=[f"lacking  {name}" for name in missing],
            hint="build them, then push again: `envmatrix build`",
        )


def _show(survey: Survey, *, as_json: bool) -> None:
    groups = {"published": survey.there, "push": survey.to_push, "lacking": survey.lacking}
    rows = [(state, its) for state, group in groups.items() for its in group]
    if as_json:
        options.print_json([_row(*row) for row in rows])
        return
    for state, its in rows:
        output(f"{state:9} {its.image}")


def _row(state: str, its: Inputs) -> dict[str, str]:
    return {
        "image": its.reference,
        "platform": its.image.platform,
        "state": state,
        "fingerprint": its.fingerprint,
    }
