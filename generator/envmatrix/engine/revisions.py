"""The files of a repository as they were at a git revision."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from envmatrix.engine.processes import run
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.files import readable_text


def check_out(root: Path, revision: str, paths: Iterable[str], target: Path) -> None:
    """Write what of `paths` is committed at `revision` into `target`."""
    commit = _commit(root, revision)
    names = _git(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", *paths)
    for name in filter(None, names.split("\0")):
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_git(root, "cat-file", "blob", f"{commit}:./{name}"), encoding="utf-8")


def _commit(root: Path, revision: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", f"{revision}^{{commit}}").strip()
    except EnvmatrixError as error:
        if not error.details:
            raise  # git is missing
        raise ConfigurationError(
            Problem(
                f"revision `{revision}` cannot be read: {error.details[-1]}",
                hint="name a commit, a branch or a tag of this repository",
            )
        ) from error


def _git(root: Path, *arguments: str) -> str:
    command = ("git", "-C", str(root), *arguments)
    return run(command, failing=EnvmatrixError, hint="`--diff` reads revisions with git")


def commit_of(root: Path, file: str) -> str | None:
    """The commit that is checked out; None where `file` is not what that has, or there is none."""
    try:
        if _git(root, "status", "--porcelain", "--", file):
            return None
        return _git(root, "rev-parse", "--verify", "HEAD").strip()
    except EnvmatrixError:
        return None


def changed_files(root: Path, revision: str) -> tuple[str, ...]:
    """The files below `root` that differ between where the branch left `revision` and the working
    tree, those that git does not know among them."""
    commit = _commit(root, revision)
    base = _git(root, "merge-base", commit, "HEAD").strip()
    names = ("diff", "--name-only", "--no-renames", "--relative", "-z", base)
    new = ("ls-files", "--others", "--exclude-standard", "-z")
    found = {*_git(root, *names).split("\0"), *_git(root, *new).split("\0")}
    return tuple(sorted(found - {""}))


_SUBMODULE = re.compile(r"^\s*path\s*=\s*(.*?)\s*$", re.MULTILINE)


def absent_submodules(root: Path, directory: Path) -> tuple[str, ...]:
    """The submodules below `directory` of the repository in `root` that are not checked out, by
    their path in it."""
    found = []
    for home in dict.fromkeys((root, directory)):
        paths = (home / name for name in _SUBMODULE.findall(readable_text(home / ".gitmodules")))
        inside = (path for path in paths if path.is_relative_to(directory) and path != directory)
        found += [path.relative_to(directory).as_posix() for path in inside if not _has_files(path)]
    return tuple(dict.fromkeys(found))


def _has_files(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


@dataclass(frozen=True, slots=True)
class Checkout:
    """What is checked out: a commit, with `-changed` where files differ from it, its branch, and
    when it was committed, in seconds since 1970."""

    commit: str
    branch: str
    committed: float


def committed(root: Path, revision: str) -> float:
    """When a revision was committed, in seconds since 1970; ConfigurationError where there is no
    such revision."""
    return float(_git(root, "log", "-1", "--format=%ct", _commit(root, revision)))


def checkout_of(directory: Path) -> Checkout | None:
    """What is checked out around `directory`; None where git says nothing."""
    try:
        status = _git(directory, "status", "--porcelain=v2", "--branch", "--", ".")
        committed = float(_git(directory, "log", "-1", "--format=%ct"))
    except EnvmatrixError:
        return None
    lines = status.splitlines()
    told = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    changed = "-changed" if any(not line.startswith("#") for line in lines) else ""
    branch = told.get("branch.head", "")
    name = "" if branch == "(detached)" else branch
    return Checkout(f"{told.get('branch.oid', '')}{changed}", name, committed)
