"""The files of a repository as they were at a git revision."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.files import readable_text
from envmatrix.machine.disk_cache import cached_value
from envmatrix.machine.processes import complete, run
from envmatrix.records import dataclass

# On stderr, if git leaves out a directory or a file that it cannot read, and succeeds.
_OMISSION = re.compile(
    r"^(?:warning: could not open directory '(.+)'|(?!warning: )(.+)): Permission denied$",
    re.MULTILINE,
)
# SHA-1 or SHA-256.
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def export_files(root: Path, revision: str, paths: Iterable[str], target: Path) -> None:
    """Write the files below `paths` that are committed at `revision` to `target`."""
    commit = commit_named(root, revision)
    for name in list_rows(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", *paths):
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_git(root, "cat-file", "blob", f"{commit}:./{name}"), encoding="utf-8")


def commit_named(root: Path, revision: str) -> str:
    """Return the commit that a revision names; raise ConfigurationError if it names none."""
    try:
        commit = _git(root, "rev-parse", "--verify", f"{revision}^{{commit}}").strip()
    except EnvmatrixError as error:
        if not error.details:
            raise  # git is missing
        raise _unreadable(revision, error.details[-1]) from error
    if not _COMMIT.fullmatch(commit):  # `^HEAD` and options, which git accepts as well
        raise _unreadable(revision, "it is no single commit")
    return commit


def top_of(root: Path) -> Path:
    """Return the top directory of the repository around `root`."""
    return Path(_git(root, "rev-parse", "--show-toplevel").removesuffix("\n")).resolve()


def commits_between(root: Path, good: str, bad: str) -> tuple[str, ...]:
    """Return the commits after `good` up to `bad`, the oldest first, along first parents: each is
    what a merge made of the branch. Raise ConfigurationError unless `good` is among its ancestors.
    """
    first, last = commit_named(root, good), commit_named(root, bad)
    rows = _git(root, "rev-list", "--first-parent", "--reverse", f"{first}..{last}").split()
    parent = _git(root, "rev-parse", f"{rows[0]}^").strip() if rows else ""
    if parent != first:
        message = f"`{bad}` does not follow `{good}` along first parents"
        raise ConfigurationError(message, hint="name an older revision of the same branch first")
    return tuple(rows)


def _unreadable(revision: str, reason: str) -> ConfigurationError:
    hint = "name a commit, a branch or a tag of this repository"
    return ConfigurationError(f"revision `{revision}` cannot be read: {reason}", hint=hint)


def _git(root: Path, *arguments: str) -> str:
    command = ("git", "-C", str(root), *arguments)
    return run(command, failing=EnvmatrixError, hint="revisions are read with git")


def list_rows(root: Path, *arguments: str) -> list[str]:
    """Return what a command of git with `-z` lists; EnvmatrixError where git has no repository."""
    return list(filter(None, _git(root, *arguments).split("\0")))


def list_tree(root: Path, *arguments: str) -> list[str]:
    """Return what a command of git with `-z` lists of the working tree below `root`; raise
    EnvmatrixError where git has no repository, and ConfigurationError for what git cannot read."""
    command = ("git", "-C", str(root), *arguments)
    try:
        done = complete(command, {**os.environ, "LC_ALL": "C"})
    except FileNotFoundError as error:
        raise EnvmatrixError("`git` is missing") from error
    if done.returncode:
        raise EnvmatrixError("git has no repository", details=done.stderr.splitlines())
    if omission := _OMISSION.search(done.stderr):
        name = "".join(filter(None, omission.groups()))
        hint = "permit yourself to read it, or let git ignore it"
        raise ConfigurationError(f"git cannot read `{name}` below `{root}`", hint=hint)
    return list(filter(None, done.stdout.split("\0")))


def commit_of(root: Path, file: str) -> str | None:
    """Return the commit that is checked out; None where `file` differs from it, or without git."""
    try:
        if _git(root, "status", "--porcelain", "--", file):
            return None
        return _git(root, "rev-parse", "--verify", "HEAD").strip()
    except EnvmatrixError:
        return None


def changed_files(root: Path, revision: str) -> tuple[str, ...]:
    """Return the files below `root` that differ between the merge base with `revision` and the
    working tree, untracked ones included."""
    commit = commit_named(root, revision)
    base = _merge_base(root, commit, revision)
    names = ("diff", "--name-only", "--no-renames", "--relative", "-z", base)
    new = ("ls-files", "--others", "--exclude-standard", "-z")
    return tuple(sorted({*list_rows(root, *names), *list_rows(root, *new)}))


def _merge_base(root: Path, commit: str, revision: str) -> str:
    try:
        return _git(root, "merge-base", commit, "HEAD").strip()
    except EnvmatrixError as error:
        if error.details:  # it is silent where there is none
            raise
        hint = "fetch the whole history: `git fetch --unshallow`"
        raise EnvmatrixError(f"there is no common ancestor with `{revision}`", hint=hint) from error


_SUBMODULE = re.compile(r"^\s*path\s*=\s*(.*?)\s*$", re.MULTILINE)


def absent_submodules(root: Path, directory: Path) -> tuple[str, ...]:
    """Return the paths below `directory` of submodules of the repository around `root` that are not
    checked out."""
    place = directory.resolve()
    absent = (path for path in _absent_submodules(root, directory) if place in path.parents)
    return tuple(dict.fromkeys(path.relative_to(place).as_posix() for path in absent))


def absent_around(root: Path, directory: Path) -> str | None:
    """Return the path from `root` of a submodule that is not checked out and that `directory` is,
    or is in; None if there is none."""
    place = directory.resolve()
    absent = _absent_submodules(root, directory)
    around = next((path for path in absent if path in (place, *place.parents)), None)
    return os.path.relpath(around, root.resolve()) if around else None


def _absent_submodules(root: Path, directory: Path) -> Iterator[Path]:
    """Yield the submodules that are not checked out, of the repository around `root` and of files
    in `directory` that may be copied from another one."""
    place = root.resolve()
    top = next((path for path in (place, *place.parents) if (path / ".git").exists()), place)
    for home in dict.fromkeys((top, place, directory.resolve())):
        yield from _absent_in(home)


def _absent_in(home: Path) -> Iterator[Path]:
    for name in _SUBMODULE.findall(readable_text(home / ".gitmodules")):
        path = (home / name).resolve()
        if home not in path.parents:
            continue
        if path.is_dir() and any(path.iterdir()):
            yield from _absent_in(path)
        else:
            yield path


# The end of a commit where files differ from it.
CHANGED = "-changed"


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit, with `-changed` where files differ from it, its branch, and the time of the commit
    in seconds since 1970."""

    commit: str
    branch: str
    committed: float


def commit_time(root: Path, revision: str) -> float:
    """Return the time of a revision in seconds since 1970; ConfigurationError where it does not
    exist."""
    return float(_git(root, "log", "-1", "--format=%ct", commit_named(root, revision)))


def checkout_of(
    directory: Path, *, without: Iterable[str] = (), has_untracked: bool = True
) -> Checkout | None:
    """Return the checkout around `directory`; None where git finds none. Paths in it that are
    `without` count, and untracked files unless it `has_untracked`, are no changes."""
    paths = (".", *(f":(exclude,literal){path}" for path in without))
    untracked = f"--untracked-files={'normal' if has_untracked else 'no'}"
    try:
        status = _git(directory, "status", "--porcelain=v2", "--branch", untracked, "--", *paths)
        lines = status.splitlines()
        headers = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
        committed = cached_value(
            f"time of the commit in {directory}",
            headers.get("branch.oid", "").encode(),
            lambda: float(_git(directory, "log", "-1", "--format=%ct")),
        )
    except EnvmatrixError:
        return None
    changed = CHANGED if any(not line.startswith("#") for line in lines) else ""
    branch = headers.get("branch.head", "")
    name = "" if branch == "(detached)" else branch
    return Checkout(f"{headers.get('branch.oid', '')}{changed}", name, committed)
