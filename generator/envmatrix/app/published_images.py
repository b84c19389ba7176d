"""Check the published images that `images.lock.json` names."""

from __future__ import annotations

from collections.abc import Iterator

from envmatrix.app.workspace import Workspace
from envmatrix.errors import EnvmatrixError, OutOfDate
from envmatrix.lock.images_lock import FILE, PublishedIndex
from envmatrix.parallel import run_parallel
from envmatrix.plan.publication import indexes_of
from envmatrix.registry.client import Registry


def check_published(workspace: Workspace) -> int:
    """Return the number of images. Raise EnvmatrixError if the registry lacks one, and OutOfDate if
    one has other inputs than the lock."""
    from envmatrix.registry.client import open_registry

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
