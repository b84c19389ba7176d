"""The source trees of libraries: looked up for the lock, and brought here as it says.

A tree lies in the cache under what it is known by, complete or not at all; nothing writes into it.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from envmatrix.engine import perforce
from envmatrix.engine.archives import unpack, unpack_wheel
from envmatrix.engine.processes import run
from envmatrix.errors import LookupFailed
from envmatrix.lock.libraries import CHANGELIST, COMMIT
from envmatrix.lock.model import Artifact, PackageSet
from envmatrix.store.artifacts import Store, exclusive

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_COMPONENT = re.compile(r"\.orig(?:-([\w-]+))?\.tar\.\w+$")
_NATIVE = re.compile(r"(?<!debian)\.tar\.\w+$")


def commit(url: str, revision: str) -> str:
    """The commit of a branch, a tag or a commit's own name in the repository at `url`."""
    if _COMMIT.fullmatch(revision):
        return revision
    refs = (f"refs/heads/{revision}", f"refs/tags/{revision}", f"refs/tags/{revision}^{{}}")
    printed = _git("ls-remote", "--", url, *refs)
    found = {
        name: known for known, _, name in (line.partition("\t") for line in printed.splitlines())
    }
    for name in reversed(refs):  # the commit below an annotated tag, not the tag
        if name in found:
            return found[name]
    raise LookupFailed(
        f"`{url}` has no branch or tag `{revision}`",
        hint="a commit is named by all its digits",
    )


depot = perforce.depot


def tree(cache: Path, store: Store, source: PackageSet) -> Path:
    """The directory of a locked source, brought here where it is not; its artifacts are in the
    store already."""
    request = source.request
    place, version = request.packages
    if request.resolver == "git":
        known = source.found[COMMIT]
        return _kept(cache, f"git-{known}", lambda target: _check_out(place, known, target))
    if request.resolver == "perforce":
        known = source.found[CHANGELIST]
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


def unpack_wheels(files: Iterable[Path], target: Path) -> None:
    """Have in `target` what an installation of wheels has where Python finds modules."""
    target.mkdir(parents=True)
    for file in files:
        unpack_wheel(file, target)


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


def _git(*arguments: str) -> str:
    # No question to a person who is not there: a missing password is an error.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    return run(
        ("git", *arguments),
        failing=LookupFailed,
        environment=environment,
        hint="is the repository there, and may you read it? try `git ls-remote`",
    )


def _check_out(url: str, commit: str, target: Path) -> None:
    """The files of a commit with those of its submodules, and nothing of git's own."""
    at = ("-C", str(target))
    _git("init", "--quiet", str(target))
    try:
        _git(*at, "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, commit)
    except LookupFailed:  # a server that gives no single commit gives its branches and tags
        _git(*at, "fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/heads/fetched/*")
    _git(*at, "-c", "advice.detachedHead=false", "checkout", "--quiet", commit)
    if (target / ".gitmodules").exists():
        _git(*at, "remote", "add", "origin", url)
        _git(*at, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    for its in sorted(target.rglob(".git"), reverse=True):
        shutil.rmtree(its) if its.is_dir() else its.unlink()


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
