"""The sources and wheels of libraries that the lock has, brought here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import sources
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.lock.libraries import COMMIT, source_set, wheels_set
from envmatrix.lock.model import PackageSet
from envmatrix.matrix.model import Library
from envmatrix.results.records import Revision
from envmatrix.store.artifacts import Store, cache_directory


def source(workspace: Workspace, library: Library, console: Console) -> Path:
    """The directory of a library's source."""
    found = tree(workspace.lock.sets[source_set(library)], console)
    if not (found / library.path).is_dir():
        message = f"the source of `{library.name}` has no directory `{library.path}`"
        raise ConfigurationError(Problem(message, library.position, "correct its `path`"))
    return found


def tree(found: PackageSet, console: Console) -> Path:
    """The directory of a source, of the repository's lock or of another one."""
    return sources.tree(cache_directory(), Store.of_user(), _fetched(found, console))


def wheels(
    workspace: Workspace, library: Library, os: str, arches: Iterable[str], console: Console
) -> Mapping[str, Path]:
    """The directory of a library's wheels for each architecture, by Docker's name."""
    store, sets = Store.of_user(), workspace.lock.sets
    return {
        arch: sources.wheels(cache_directory(), store, _fetched(found, console).artifacts)
        for arch in sorted(arches)
        for found in [sets[wheels_set(library, os, arch)]]
    }


def revision(workspace: Workspace, library: Library) -> Revision:
    """What identifies a library's source: its commit, else its version."""
    assert library.source is not None  # noqa: S101 -- asked of what is locked alone
    locked = workspace.lock.sets[source_set(library)]
    versions = [its.version for its in locked.artifacts]
    return Revision(locked.versions.get(COMMIT) or min(versions, default=library.source.version))


def _fetched(found: PackageSet, console: Console) -> PackageSet:
    """A set of a lock with its files in the store."""
    store = Store.of_user()
    if all(store.has(artifact) for artifact in found.artifacts):
        return found
    from envmatrix.store.fetch import Fetcher, http_client  # httpx
    from envmatrix.store.mirrors import mirror_of_user
    from envmatrix.store.origins import Origins

    origins = Origins()
    with http_client(origins) as client, mirror_of_user() as mirror:
        Fetcher(store, origins, client, mirror=mirror).fetch(found.artifacts, console)
    return found
