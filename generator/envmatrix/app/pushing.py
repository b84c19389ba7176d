"""Publish the built images of a repository, and record them in `images.lock.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import docker_client
from envmatrix.errors import EnvmatrixError
from envmatrix.lock.images_lock import save
from envmatrix.machine.cache import cache_directory
from envmatrix.plan.publication import indexes_of
from envmatrix.publishing.attestations import AttestationPublisher, build_metadata
from envmatrix.publishing.cosign import Cosign
from envmatrix.publishing.publisher import Publisher, Survey
from envmatrix.registry.client import open_registry
from envmatrix.store.image_ids import Made


def push_images(
    workspace: Workspace,
    patterns: Sequence[str],
    cosign: Cosign | None,
    jobs: int,
    console: Console,
    *,
    show: Callable[[Survey], None],
    dry_run: bool,
) -> None:
    """Publish the images of the selected cells' environments that the registry lacks, signed by
    `cosign` if there is one, and show their states. Raise EnvmatrixError if images of this machine
    are not built."""
    repository, inputs = (
        workspace.required_repository,
        workspace.plan(workspace.images_of_hosts(patterns)),
    )
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
            show(survey)
            return
        published = publisher.publish(indexes, survey, jobs)
    lock = workspace.published.with_published(
        {(index.environment, index.flavour): entry for index, entry in published.items()},
        {cell.environment for cell in workspace.matrix.cells},
    )
    save(lock, workspace.root)
    of_machine = set(workspace.images(patterns))
    show(survey)
    if missing := [str(inputs.image) for inputs in survey.missing if inputs.image in of_machine]:
        raise EnvmatrixError(
            f"{len(missing)} images of this machine are not built",
            details=[f"lacking  {name}" for name in missing],
            hint="build them, then push again: `envmatrix build`",
        )
