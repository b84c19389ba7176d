"""The locked sources and wheels of libraries, fetched into the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.lock.model import COMMIT, Lock, PackageSet, archive_set, source_set, wheels_set
from envmatrix.machine.cache import cache_directory
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.results.records import Revision
from envmatrix.store.artifacts import Store
from envmatrix.vcs import source_trees


def fetch(
    workspace: Workspace, library: Library, cell: Cell, arches: Iterable[str], console: Console
) -> tuple[Path, Mapping[str, Path]]:
    """Return the directory of a library's source, and those of its wheels for each architecture of
    images, by Docker's name."""
    source, wheels = workspace.root / library.path, {}
    if library.source is not None:
        source = source_tree(workspace.lock.sets[source_set(library)], console)
        if not (source / library.path).is_dir():
            message = f"the source of `{library.name}` has no directory `{library.path}`"
            raise ConfigurationError(Problem(message, library.position, "correct its `path`"))
    for arch in sorted(arches) if library.requires else ():
        package_set = workspace.lock.sets[wheels_set(library, cell, arch)]
        store = _fetch(package_set, console)
        artifacts = package_set.artifacts
        wheels[arch] = source_trees.wheel_directory(cache_directory(), store, artifacts)
    return source, wheels


def fetch_archives(workspace: Workspace, library: Library, console: Console) -> Mapping[str, Path]:
    """Return the directories of what the build of a library would download, by their names."""
    sets = workspace.lock.sets
    return {
        name: source_tree(sets[archive_set(library, name)], console) for name in library.archives
    }


def source_tree(package_set: PackageSet, console: Console) -> Path:
    """Return the directory of a source, of the repository's lock or of another one."""
    return source_trees.tree(cache_directory(), _fetch(package_set, console), package_set)


def revision(lock: Lock, library: Library) -> Revision:
    """Return the revision of a library's locked source: its commit, else its version."""
    assert library.source is not None  # noqa: S101 -- only for locked sources
    locked = lock.sets[source_set(library)]
    versions = [artifact.version for artifact in locked.artifacts]
    return Revision(locked.versions.get(COMMIT) or min(versions, default=library.source.pin))


def _fetch(package_set: PackageSet, console: Console) -> Store:
    """Fetch the files of a package set that the store lacks; return the store."""
    store = Store.of_user()
    if all(store.has(artifact) for artifact in package_set.artifacts):
        return store
    from envmatrix.store.mirrors import fetcher_of_user

    with fetcher_of_user(console.warn) as fetcher:
        fetcher.fetch(package_set.artifacts, console)
    return store
