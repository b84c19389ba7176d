"""Git repositories, independent of the configuration of this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

UNCONFIGURED = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
_SETTINGS = ("user.name=t", "user.email=t@t.example", "protocol.file.allow=always")


def git(directory: Path, *arguments: str, stdin: str = "") -> str:
    """Run git with `stdin` as its input, and return what it prints."""
    settings = (word for setting in _SETTINGS for word in ("-c", setting))
    done = subprocess.run(
        ["git", "-C", str(directory), *settings, *arguments],
        check=True,
        capture_output=True,
        text=True,
        input=stdin,
        env={**os.environ, **UNCONFIGURED},
    )
    return done.stdout.strip()


def commit(directory: Path) -> None:
    """Commit all that changed in the repository around a directory."""
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message=change")


def committed(directory: Path, files: Mapping[str, str] | None = None) -> Path:
    """Make a directory a repository if it is none, and commit it with these files."""
    if not (directory / ".git").exists():
        directory.mkdir(parents=True, exist_ok=True)
        git(directory, "init", "--quiet", "--initial-branch=main")
    for name, text in (files or {}).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    commit(directory)
    return directory


def head(repository: Path) -> str:
    return git(repository, "rev-parse", "HEAD")


def files_of(directory: Path) -> dict[str, str]:
    """Return the texts of all files below a directory by their paths in it."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return {file.relative_to(directory).as_posix(): file.read_text() for file in files}
