"""A copy of a source tree for a build that writes among its sources."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

_LIST = ".envmatrix-copied"

# Directories that are no source: version control's, and that of results.
_OTHERS = (".git", ".hg", ".svn", ".envmatrix")


def update(source: Path, target: Path) -> None:
    """Bring what changed in `source` into `target`, and take away what is gone from it; what else
    was written there stays, so that a build can go on from it."""
    target.mkdir(parents=True, exist_ok=True)
    before = _copied(target)
    now = sorted(_files(source, target))
    for name in sorted(set(before) - set(now)):
        (target / name).unlink(missing_ok=True)
    for name in now:
        _copy(source / name, target / name)
    (target / _LIST).write_text(json.dumps(now), encoding="utf-8")


def _copied(target: Path) -> list[str]:
    try:
        found: list[str] = json.loads((target / _LIST).read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return []


def _files(source: Path, target: Path) -> list[str]:
    """Files and links; without what is built, which a library that is a whole repository has in
    it, as it has `target`."""
    found = []
    own = source / target.relative_to(source).parts[0] if target.is_relative_to(source) else None
    for top, names, files in os.walk(source):
        directory = Path(top)
        names[:] = [name for name in names if name not in _OTHERS and directory / name != own]
        links = [name for name in names if (directory / name).is_symlink()]
        found += [(directory / name).relative_to(source).as_posix() for name in (*files, *links)]
    return found


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.readlink())
        return
    its = source.stat()
    try:
        there = target.stat()
        if (there.st_size, there.st_mtime_ns) == (its.st_size, its.st_mtime_ns):
            return
    except OSError:
        target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
