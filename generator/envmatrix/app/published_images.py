"""Publish images, and check those that `images.lock.json` names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import docker_client
from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate
from envmatrix.images.model import Image
from envmatrix.lock.images_lock import FILE, PublishedIndex, save
from envmatrix.machine.cache import cache_directory
from envmatrix.parallel import run_parallel
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import Index, indexes_of
from envmatrix.publishing.attestations import AttestationPublisher, build_metadata
from envmatrix.publishing.cosign import Cosign
from envmatrix.publishing.publisher import Publisher, Survey
from envmatrix.registry.client import Registry, open_registry
from envmatrix.text import number_of


def check_published(workspace: Workspace) -> int:
    """Return the number of images. Raise EnvmatrixError if the registry lacks one, and OutOfDate if
    one has other inputs than the lock."""
    rows = [*workspace.published]
    if not rows:
        raise OutOfDate(f"there is no image in `{FILE}`", hint="publish some: `envmatrix push`")
    problems: list[str] = []
    for repository in sorted({index.repository for _, _, index in rows}):
        group = [row for row in rows if row[2].repository == repository]
        with open_registry(repository) as remote:
            messages_of = run_parallel(lambda row: [*_problems(remote, row[2])], group, 8)
        for (environment, flavour, _), messages in zip(group, messages_of, strict=True):
            problems += (f"{environment} {flavour}: {message}" for message in messages)
    if problems:
        entries = number_of(len(problems), "entry", "entries")
        verb = "differs" if len(problems) == 1 else "differ"
        message = f"{entries} of `{FILE}` {verb} from what the registry has"
        hint = "publish them again: `envmatrix push`"
        raise EnvmatrixError(message, details=problems, hint=hint)
    if stale := [*_stale(workspace)]:
        hint = "publish those of this one: `envmatrix build`, `envmatrix push`"
        raise OutOfDate(f"`{FILE}` has images of another lock", details=stale, hint=hint)
    return len(rows)


def _problems(remote: Registry, index: PublishedIndex) -> Iterator[str]:
    manifest = remote.manifest(index.digest)
    if manifest is None:
        yield f"no {index.digest}"
        return
    digests = manifest.by_architecture()
    for arch, image in sorted(index.images.items()):
        if arch not in digests:
            yield f"no linux/{arch} in {index.digest}"
        elif digests[arch] != image.digest:
            yield f"linux/{arch} is {digests[arch]}, not {image.digest}"
        elif remote.digest(image.digest) is None:
            yield f"no {image.digest} of linux/{arch}"


def _stale(workspace: Workspace) -> Iterator[str]:
    indexes = indexes_of(workspace.plan(workspace.images_of_hosts(())))
    current = {(index.environment, index.flavour): index.fingerprint for index in indexes}
    for environment, flavour, index in workspace.published:
        if (environment, flavour) not in current:
            yield f"{environment} {flavour}: the matrix has no such image"
        elif current[environment, flavour] != index.fingerprint:
            yield f"{environment} {flavour}: has other inputs"


def push_images(
    workspace: Workspace,
    patterns: Sequence[str],
    cosign: Cosign | None,
    jobs: int,
    console: Console,
    *,
    dry_run: bool,
) -> Survey:
    """Publish the images of the selected cells' environments that the registry lacks, signed by
    `cosign` if there is one; return their states before."""
    _repository(workspace)
    indexes = indexes_of(workspace.plan(workspace.images_of_hosts(patterns)))
    return _push(workspace, indexes, (), cosign, jobs, console, dry_run=dry_run)


def publish_image(
    workspace: Workspace, image: Image, cosign: Cosign | None, console: Console
) -> None:
    """Publish an image that this machine has, and its flavour if the registry has all others of
    it, signed by `cosign` if there is one."""
    (inputs,) = workspace.plan([image])
    cells = [cell.id for cell in workspace.matrix.cells if cell.environment == image.environment]
    every = indexes_of(workspace.plan(workspace.images_of_hosts(cells)))
    indexes = [index for index in every if inputs in index.images]
    alone = () if indexes else (inputs,)  # as for analyses, which no flavour is published for
    _push(workspace, indexes, alone, cosign, 1, console, dry_run=False)


def _repository(workspace: Workspace) -> str:
    """Return where images are published; raise ConfigurationError if nothing says that."""
    if workspace.repository is None:
        hint = "write `registry: {repository: registry.example/team/images}` in matrix.yaml"
        raise ConfigurationError("nothing says where images are published", hint=hint)
    return workspace.repository


def _push(
    workspace: Workspace,
    indexes: Sequence[Index],
    alone: Sequence[Inputs],
    cosign: Cosign | None,
    jobs: int,
    console: Console,
    *,
    dry_run: bool,
) -> Survey:
    """Publish images of indexes, and those that are in none."""
    repository = _repository(workspace)
    inputs = [item for index in indexes for item in index.images]
    with docker_client.connect() as client, open_registry(repository) as remote:
        environments = workspace.environments(item.image.environment for item in inputs)
        metadata = build_metadata(workspace.root, os.environ)
        documents = AttestationPublisher(remote, environments, workspace.lock, metadata, cosign)
        publisher = Publisher(client, remote, cache_directory(), documents.publish, console)
        survey = publisher.survey(indexes)
        if dry_run:
            return survey
        others = publisher.survey([Index("", "", (item,)) for item in alone])
        to_push = replace(survey, to_push=(*survey.to_push, *others.to_push))
        published = publisher.publish(indexes, to_push, jobs)
    entries = {(index.environment, index.flavour): row for index, row in published.items()}
    names = {cell.environment for cell in workspace.matrix.cells}
    save(workspace.published.with_published(entries, names), workspace.root)
    return survey


def require_built(survey: Survey, images: Sequence[Image]) -> None:
    """Raise EnvmatrixError if any of `images` could not be published, because it is not built."""
    lacking = [f"lacking  {item.image}" for item in survey.missing if item.image in images]
    if lacking:
        images_lacking = number_of(len(lacking), "image")
        message = f"this machine has not built {images_lacking} of its own"
        hint = "build them, then push again: `envmatrix build`"
        raise EnvmatrixError(message, details=lacking, hint=hint)
