"""Source trees of libraries: looked up for the lock, and fetched as locked.

A tree is in the cache under its identity, complete or not at all, and is never written to.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from envmatrix.errors import LookupFailed
from envmatrix.files import new_directory
from envmatrix.lock.model import CHANGELIST, COMMIT, SUBMODULE, Artifact, PackageSet, SourceRequest
from envmatrix.machine.cache import exclusive
from envmatrix.store.artifacts import Store
from envmatrix.vcs import perforce, remote_git
from envmatrix.vcs.archives import check_links, unpack, unpack_wheel

_COMMITS = "commits.json"
_COMPONENT = re.compile(r"\.orig(?:-([\w-]+))?\.tar\.\w+$")
_NATIVE = re.compile(r"(?<!debian)\.tar\.\w+$")


def commits(cache: Path, url: str, revision: str) -> Mapping[str, str]:
    """Return the commits of a revision and its submodules, as in the lock. All are checked out, so
    that a lock names only commits that can be fetched."""
    return _commits_in(_checkout_directory(cache, url, remote_git.commit(url, revision)))


def tree(cache: Path, store: Store, source: PackageSet) -> Path:
    """Return the directory of a locked source, fetched if missing; its artifacts are in the store
    already."""
    match source.request:
        case SourceRequest(resolver="git", place=url):
            checkout = _checkout_directory(cache, url, source.versions[COMMIT])
            _check_submodules(url, source.versions, _commits_in(checkout))
            return checkout / "tree"
        case SourceRequest(resolver="perforce", place=path, pin=pin):
            changelist = source.versions[CHANGELIST]
            make = partial(perforce.sync, path, pin, changelist)
            return _cached_directory(cache, f"perforce-{changelist}", make)
    name = _hash_of(artifact.sha256 for artifact in source.artifacts)
    return _cached_directory(cache, name, partial(_unpack_all, store, source.artifacts))


def _hash_of(words: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def differing_files(first: Path, second: Path) -> tuple[str, ...]:
    """Return the files that only one of two directories has, or that differ."""
    first_names, second_names = (
        {path.relative_to(root).as_posix() for path in root.rglob("*") if _is_file(path)}
        for root in (first, second)
    )
    common = first_names & second_names
    changed = (name for name in common if not _are_same(first / name, second / name))
    return tuple(sorted({*(first_names ^ second_names), *changed}))


def _is_file(file: Path) -> bool:
    return file.is_symlink() or not file.is_dir()


def _are_same(first: Path, second: Path) -> bool:
    if first.is_symlink() or second.is_symlink():
        return first.is_symlink() and second.is_symlink() and first.readlink() == second.readlink()
    return filecmp.cmp(first, second, shallow=False)


def wheel_directory(cache: Path, store: Store, artifacts: Sequence[Artifact]) -> Path:
    """Return a directory for PYTHONPATH with the modules of wheels."""
    digest = _hash_of(sorted(artifact.sha256 for artifact in artifacts))
    files = [store.path(artifact) for artifact in artifacts]

    def make(target: Path) -> None:
        """Unpack the wheels as an installation would."""
        target.mkdir(parents=True)
        for file in files:
            unpack_wheel(file, target)
        check_links(target, ", ".join(file.name for file in files))

    return _cached_directory(cache, f"wheels-{digest}", make)


def _cached_directory(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return the directory `name` of the cache, made by the first process that needs it."""
    directory = cache / "sources" / name
    if not directory.is_dir():
        with exclusive(cache / "sources" / f"{name}.lock"):
            if not directory.is_dir():
                with new_directory(directory) as scratch:
                    make(scratch)
    return directory


def _checkout_directory(cache: Path, url: str, commit: str) -> Path:
    """Return a directory with the files of a commit in `tree`, and a file of its commits."""

    def make(target: Path) -> None:
        target.mkdir(parents=True)
        commits_of_tree = remote_git.check_out(url, commit, target / "tree")
        (target / _COMMITS).write_text(json.dumps(commits_of_tree), encoding="utf-8")

    return _cached_directory(cache, f"checkout-{commit}", make)


def _commits_in(checkout: Path) -> Mapping[str, str]:
    return cast("Mapping[str, str]", json.loads((checkout / _COMMITS).read_text(encoding="utf-8")))


def _check_submodules(
    url: str, locked: Mapping[str, str], commits_of_tree: Mapping[str, str]
) -> None:
    has_any = any(name.startswith(SUBMODULE) for name in locked)
    if has_any and locked != commits_of_tree:  # a lock of before names none
        names = sorted({name for name, _ in locked.items() ^ commits_of_tree.items()})
        hint = "lock it again: `envmatrix lock`"
        raise LookupFailed(f"`{url}` is not what was locked: {', '.join(names)}", hint=hint)


def _unpack_all(store: Store, artifacts: Iterable[Artifact], target: Path) -> None:
    """Unpack the archive of a source, or the archives of a Debian source package."""
    metadata = (".dsc", ".asc", ".diff.gz")
    candidates = [item for item in artifacts if not item.filename.endswith(metadata)]
    parts = {item: match for item in candidates if (match := _COMPONENT.search(item.filename))}
    if not parts:
        archives = [item for item in candidates if _NATIVE.search(item.filename)] or candidates
        unpack(store.path(archives[0]), archives[0].filename, target)
        return
    for artifact, match in sorted(parts.items(), key=lambda part: part[1][1] or ""):
        unpack(store.path(artifact), artifact.filename, target / match[1] if match[1] else target)
    check_links(target, ", ".join(item.filename for item in parts))
