"""A copy of a source tree for a build that writes among its sources."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from envmatrix.confined import Directory
from envmatrix.files import read_regular, write_whole

# Directories that are no source: version control's, and that of results.
_OTHERS = (".git", ".hg", ".svn", ".envmatrix")


def update(source: Path, build: Directory, copy: str, known: Path) -> None:
    """Bring what changed in `source` into the directory `copy` of `build`, and take away what is
    gone from it; what else was written there stays, so that a build can go on from it. What was
    copied is written down in `known`, beside the build directory and out of its reach."""
    build.make_directory(copy)
    before = _copied(known)
    now = sorted(_files(source, known))
    for name in sorted(set(before) - set(now)):
        build.remove(f"{copy}/{name}")
    for name in now:
        _copy(source / name, build, f"{copy}/{name}")
    write_whole(known, json.dumps(now).encode())


def _copied(known: Path) -> Sequence[str]:
    try:
        found: list[str] = json.loads(read_regular(known))
        return found
    except (OSError, ValueError):
        return []


def _files(source: Path, known: Path) -> Iterable[str]:
    """Files and links; without what is built, which a library that is a whole repository has in
    it, as it has `known`."""
    own = source / known.relative_to(source).parts[0] if known.is_relative_to(source) else None
    for top, names, files in os.walk(source):
        directory = Path(top)
        names[:] = [name for name in names if name not in _OTHERS and directory / name != own]
        links = [name for name in names if (directory / name).is_symlink()]
        for name in (*files, *links):
            yield (directory / name).relative_to(source).as_posix()


def _copy(source: Path, build: Directory, name: str) -> None:
    if source.is_symlink():
        build.link(name, os.readlink(source))  # noqa: PTH115 -- a Path would lose a last slash
    elif source.is_file():
        its = source.stat()
        if not build.is_as(name, its.st_size, its.st_mtime_ns):
            build.copy(source, name)
