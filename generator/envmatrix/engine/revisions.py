"""The files of a repository as they were at a git revision."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from envmatrix.engine.processes import run
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem


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
