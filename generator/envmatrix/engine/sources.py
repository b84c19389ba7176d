"""The source trees of libraries: looked up for the lock, and brought here as it says.

A tree lies in the cache under what it is known by, complete or not at all; nothing writes into it.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from envmatrix.engine import git, perforce
from envmatrix.engine.archives import check_links, unpack, unpack_wheel
from envmatrix.errors import LookupFailed
from envmatrix.lock.libraries import CHANGELIST, COMMIT, SUBMODULE
from envmatrix.lock.model import Artifact, PackageSet
from envmatrix.store.artifacts import Store, exclusive

_COMMITS = "commits.json"
_COMPONENT = re.compile(r"\.orig(?:-([\w-]+))?\.tar\.\w+$")
_NATIVE = re.compile(r"(?<!debian)\.tar\.\w+$")


def commits(cache: Path, url: str, revision: str) -> Mapping[str, str]:
    """The commit of a revision and those of its submodules, as the lock has them: all are brought
    here, so that what is locked can be had."""
    found = _checked_out(cache, url, git.commit(url, revision))
    return cast("Mapping[str, str]", json.loads((found / _COMMITS).read_text(encoding="utf-8")))


depot = perforce.depot


def tree(cache: Path, store: Store, source: PackageSet) -> Path:
    """The directory of a locked source, brought here where it is not; its artifacts are in the
    store already."""
    request = source.request
    place, version = request.packages
    if request.resolver == "git":
        found = _checked_out(cache, place, source.versions[COMMIT])
        _check_submodules(source, json.loads((found / _COMMITS).read_text(encoding="utf-8")))
        return found / "tree"
    if request.resolver == "perforce":
        known = source.versions[CHANGELIST]
        return _kept(
            cache,
            f"perforce-{known}",
            lambda target: perforce.sync(place, version, known, target),
        )
    digest = hashlib.sha256(" ".join(its.sha256 for its in source.artifacts).encode()).hexdigest()
    return _kept(cache, digest, lambda target: _unpack_all(store, source.artifacts, target))


def differing(one: Path, other: Path) -> tuple[str, ...]:
    """The files that only one of two directories has, or that are not the same in both."""
    ours, theirs = (
        {its.relative_to(root).as_posix() for its in root.rglob("*") if _is_file(its)}
        for root in (one, other)
    )
    changed = (name for name in ours & theirs if not _are_same(one / name, other / name))
    return tuple(sorted({*(ours ^ theirs), *changed}))


def _is_file(file: Path) -> bool:
    return file.is_symlink() or not file.is_dir()


def _are_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return filecmp.cmp(one, other, shallow=False)


def wheels(cache: Path, store: Store, artifacts: Sequence[Artifact]) -> Path:
    """A directory for PYTHONPATH that has what these wheels have."""
    digest = hashlib.sha256(" ".join(sorted(it.sha256 for it in artifacts)).encode()).hexdigest()
    files = [store.path(artifact) for artifact in artifacts]
    return _kept(cache, f"wheels-{digest}", lambda target: unpack_wheels(files, target))


def unpack_wheels(files: Sequence[Path], target: Path) -> None:
    """Have in `target` what an installation of wheels has where Python finds modules."""
    target.mkdir(parents=True)
    for file in files:
        unpack_wheel(file, target)
    check_links(target, ", ".join(file.name for file in files))


def _kept(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The directory `name` of the cache, made by whoever comes first."""
    directory = cache / "sources" / name
    if directory.is_dir():
        return directory
    with exclusive(cache / "sources" / f"{name}.lock"):
        if directory.is_dir():
            return directory
        scratch = directory.with_name(f"{name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            make(scratch)
            scratch.rename(directory)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return directory


def _checked_out(cache: Path, url: str, commit: str) -> Path:
    """A directory with the files of a commit in `tree`, and what it was made of."""

    def make(target: Path) -> None:
        target.mkdir(parents=True)
        found = git.check_out(url, commit, target / "tree")
        (target / _COMMITS).write_text(json.dumps(found), encoding="utf-8")

    return _kept(cache, f"checkout-{commit}", make)


def _check_submodules(source: PackageSet, found: Mapping[str, str]) -> None:
    has_any = any(name.startswith(SUBMODULE) for name in source.versions)
    if has_any and source.versions != found:  # a lock of before names none
        names = sorted({name for name, _ in source.versions.items() ^ found.items()})
        raise LookupFailed(
            f"`{source.request.packages[0]}` is not what was locked: {', '.join(names)}",
            hint="lock it again: `envmatrix lock`",
        )


def _unpack_all(store: Store, artifacts: Iterable[Artifact], target: Path) -> None:
    """The one archive of a source, or those of a source package as its parts."""
    there = [its for its in artifacts if not its.filename.endswith((".dsc", ".asc", ".diff.gz"))]
    parts = {its: match for its in there if (match := _COMPONENT.search(its.filename))}
    if not parts:
        archives = [its for its in there if _NATIVE.search(its.filename)] or there
        unpack(store.path(archives[0]), archives[0].filename, target)
        return
    for artifact, match in sorted(parts.items(), key=lambda part: part[1][1] or ""):
        unpack(store.path(artifact), artifact.filename, target / match[1] if match[1] else target)
    check_links(target, ", ".join(its.filename for its in parts))
