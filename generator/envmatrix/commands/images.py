"""`envmatrix images`: list and check published images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console, output
from envmatrix.errors import EnvmatrixError, OutOfDate
from envmatrix.lock.images_lock import FILE, PublishedIndex
from envmatrix.parallel import run_parallel
from envmatrix.plan.publication import indexes_of

if TYPE_CHECKING:
    from envmatrix.registry.client import Registry


@click.group(epilog="Example: envmatrix images check")
def command() -> None:
    """List and check the published images of `images.lock.json`."""


@command.command("list", epilog="Example: envmatrix images list --json")
@options.as_json
def list_command(*, as_json: bool) -> None:
    """List the image of every flavour, by digest."""
    rows = [*Workspace.here().published]
    if as_json:
        options.print_json(
            [
                {
                    "environment": environment,
                    "flavour": flavour,
                    "image": index.reference,
                    "platforms": [f"linux/{arch}" for arch in sorted(index.images)],
                }
                for environment, flavour, index in rows
            ]
        )
        return
    for environment, flavour, index in rows:
        output(f"{environment} {flavour} {index.reference} {','.join(sorted(index.images))}")


@command.command("check", epilog="Example: envmatrix images check")
@options.verbosity
def check_command(*, console: Console) -> None:
    """Check that every image of `images.lock.json` exists in the registry with its platforms.

    Exit with 1 if the registry lacks one, with 4 if one has other inputs than the lock.
    """
    from envmatrix.registry.client import open_registry

    workspace = Workspace.here()
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
        raise EnvmatrixError(
            f"{len(problems)} things of `{FILE}` are not in the registry as it names them",
            details=problems,
            hint="publish them again: `envmatrix push`",
        )
    if stale := [*_stale(workspace)]:
        raise OutOfDate(
            f"`{FILE}` has images of another lock",
            details=stale,
            hint="publish those of this one: `envmatrix build`, `envmatrix push`",
        )
    console.say(f"{len(rows)} images are published as `{FILE}` names them")


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
