"""`envmatrix push`: publish built images, and record them in `images.lock.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from envmatrix.app.published_images import push_images, require_built
from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.console import Console
from envmatrix.publishing.cosign import Cosign

if TYPE_CHECKING:
    from envmatrix.publishing.publisher import Survey


@click.command(epilog="Example: envmatrix push --select cuda12-aarch64")
@options.select
@options.jobs
@click.option("--sign", is_flag=True, help="Sign the published images, with `cosign`.")
@click.option(
    "--key", metavar="FILE", help="Sign with this private key; matrix.yaml names the public one."
)
@options.dry_run
@options.reporting
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
    if key and not sign:
        raise click.UsageError("--key is what to --sign with")
    workspace = Workspace.here()
    cosign = Cosign(workspace.require_signer(), workspace.root, key) if sign else None
    survey = push_images(workspace, patterns, cosign, jobs, console, dry_run=dry_run)
    _show(survey, as_json=as_json, dry_run=dry_run)
    if not dry_run:
        require_built(survey, workspace.images(patterns))


def _show(survey: Survey, *, as_json: bool, dry_run: bool) -> None:
    groups = {"published": survey.published, "push": survey.to_push, "lacking": survey.missing}
    states = [(state, inputs) for state, group in groups.items() for inputs in group]
    rows = [display.row_of(inputs, state=state) for state, inputs in states]
    words = {} if dry_run else {"push": "pushed"}
    lines = (f"{words.get(state, state):9} {inputs.image}" for state, inputs in states)
    display.show(rows, lines, as_json=as_json)
