"""Copies of source trees, for builds that write among their sources."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

from envmatrix.confined import Directory
from envmatrix.files import read_regular, write_whole
from envmatrix.sessions.context import COPY
from envmatrix.vcs.tree_identity import walk_files

# In bytes, of one component: NAME_MAX of Linux.
_LONGEST_NAME = 255


def update(source: Path, build: Directory, record: Path) -> None:
    """Copy what changed in `source` to its copy in `build`, and remove what no longer exists; other
    files stay, so that builds are incremental. `record` lists the copied files, beside the build
    directory and out of its reach."""
    build.make_directory(COPY)
    # The build root is in the source where a library is a whole repository.
    is_inside = record.is_relative_to(source)
    build_root = source / record.relative_to(source).parts[0] if is_inside else None
    current = set(walk_files(source, build_root))
    for name in sorted(_recorded(record) - current):
        # What is below a file that was a directory goes with that, or did in an interrupted run.
        if not {str(parent) for parent in PurePosixPath(name).parents} & current:
            build.remove(f"{COPY}/{name}")
    for name in sorted(current):
        _copy(source / name, build, f"{COPY}/{name}")
    write_whole(record, json.dumps(sorted(current)).encode())


def _recorded(record: Path) -> set[str]:
    """Return the files that the last run copied; none where the record is damaged."""
    try:
        names = json.loads(read_regular(record))
        return set(names) if isinstance(names, list) and all(map(_is_name, names)) else set()
    except (OSError, RecursionError, ValueError):  # also of characters that no name has
        return set()


def _is_name(name: object) -> bool:
    """Return whether `walk_files` may have yielded `name`: a relative one, as pathlib writes it."""
    if not isinstance(name, str) or "\0" in name or name != PurePosixPath(name).as_posix():
        return False
    parts = PurePosixPath(name).parts
    longest = max((len(os.fsencode(part)) for part in parts), default=0)
    return 0 < longest <= _LONGEST_NAME and not {"/", "//", ".."} & set(parts)


def _copy(source: Path, build: Directory, name: str) -> None:
    if source.is_symlink():
        build.link(name, os.readlink(source))  # noqa: PTH115 -- a Path would lose a last slash
    elif source.is_file():
        status = source.stat()
        if not build.is_as(name, status.st_size, status.st_mtime_ns):
            build.copy(source, name)
