"""`envmatrix push`: publish built images, and record them in `images.lock.json`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console, output
from envmatrix.engine import docker_client
from envmatrix.errors import EnvmatrixError
from envmatrix.lock.images_lock import save
from envmatrix.machine.cache import cache_directory
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import indexes_of
from envmatrix.publishing.cosign import Cosign
from envmatrix.store.image_ids import Made

if TYPE_CHECKING:
    from envmatrix.publishing.publisher import Survey


@click.command(epilog="Example: envmatrix push --select cuda12-aarch64")
@options.select
@options.jobs
@click.option("--sign", is_flag=True, help="Sign the published images, with `cosign`.")
@click.option(
    "--key",
    metavar="FILE",
    help="Sign with this private key; matrix.yaml names the public one.",
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

    A flavour is published when the registry has the images of all its architectures, from any
    machine; `images.lock.json` lists them by digest. A bill of materials and a provenance
    statement are published with each image.
    """
    from envmatrix.publishing.attestations import AttestationPublisher, build_metadata
    from envmatrix.publishing.publisher import Publisher
    from envmatrix.registry.client import open_registry

    if key and not sign:
        raise click.UsageError("--key is what to --sign with")
    workspace = Workspace.here()
    repository = workspace.required_repository
    cosign = Cosign(workspace.require_signer(), workspace.root, key) if sign else None
    inputs = workspace.plan(workspace.images_of_hosts(patterns))
    indexes = indexes_of(inputs)
    with docker_client.connect() as client, open_registry(repository) as remote:
        attestations = AttestationPublisher(
            remote,
            workspace.environments(image.image.environment for image in inputs),
            workspace.lock,
            build_metadata(workspace.root, os.environ),
            cosign,
        )
        publisher = Publisher(
            client, remote, cache_directory(), Made.of_user(), attestations.publish, console
        )
        survey = publisher.survey(indexes)
        if dry_run:
            _show(survey, as_json=as_json)
            return
        published = publisher.publish(indexes, survey, jobs)
    lock = workspace.published.with_published(
        {(index.environment, index.flavour): entry for index, entry in published.items()},
        {cell.environment for cell in workspace.matrix.cells},
    )
    save(lock, workspace.root)
    of_machine = set(workspace.images(patterns))
    _show(survey, as_json=as_json)
    if missing := [str(inputs.image) for inputs in survey.missing if inputs.image in of_machine]:
        raise EnvmatrixError(
            f"{len(missing)} images of this machine are not built",
            details=[f"lacking  {name}" for name in missing],
            hint="build them, then push again: `envmatrix build`",
        )


def _show(survey: Survey, *, as_json: bool) -> None:
    groups = {"published": survey.published, "push": survey.to_push, "lacking": survey.missing}
    rows = [(state, inputs) for state, group in groups.items() for inputs in group]
    if as_json:
        options.print_json([_row(*row) for row in rows])
        return
    for state, inputs in rows:
        output(f"{state:9} {inputs.image}")


def _row(state: str, inputs: Inputs) -> dict[str, str]:
    return {
        "image": inputs.reference,
        "platform": inputs.image.platform,
        "state": state,
        "fingerprint": inputs.fingerprint,
    }
