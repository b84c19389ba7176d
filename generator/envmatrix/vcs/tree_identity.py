"""The identity of a source tree in the repository: a hash of its files, committed or not."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from envmatrix.errors import EnvmatrixError
from envmatrix.machine.processes import run

# Tag of `git ls-files -v` of files that git compares with the working tree.
_COMPARED = "H"
_SUBMODULE, _LINK, _PROGRAM, _FILE = "160000", "120000", "100755", "100644"
# Directories that are no source: version control's, and that of results.
_OTHERS = (".git", ".hg", ".svn", ".envmatrix")


def tree_identity(directory: Path) -> str:
    """Return a hash (sha256, hex) of a directory: the names, modes and contents of its files.

    It is the same before and after a commit. Files that git ignores do not count; where git has no
    repository, all files count.
    """
    try:
        unchanged, others = _known_to_git(directory)
    except EnvmatrixError:
        unchanged, others = {}, set(_walk(directory))
    entries = {**unchanged, **dict(_entries(directory, others))}
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        digest.update(f"{name}\0{entry}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _known_to_git(directory: Path) -> tuple[dict[str, str], set[str]]:
    """Return the mode and the blob of each file that is as in git's index, by name, and the names
    of all others that git does not ignore."""
    unchanged, others = {}, set()
    for row in _list(directory, "ls-files", "-v", "-s"):
        about, _, name = row.partition("\t")
        tag, mode, blob, stage = about.split()
        if (tag, stage) == (_COMPARED, "0") and mode in (_FILE, _PROGRAM):
            unchanged[name] = f"{mode} {blob}"
        else:
            others.add(name)
    others |= {*_list(directory, "diff-files", "--name-only", "--relative", "--ignore-submodules")}
    others |= {*_list(directory, "ls-files", "--others", "--exclude-standard")}
    return {name: unchanged[name] for name in unchanged.keys() - others}, others


def _entries(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the mode and the blob, or the target, of files as they are in the working tree."""
    files = []
    for name in names:
        path = directory / name
        if path.is_symlink():
            yield name, f"{_LINK} {os.readlink(path)}"  # noqa: PTH115 -- as it is
        elif path.is_dir():
            yield name, f"{_SUBMODULE} {tree_identity(path)}"
        elif path.is_file():
            files.append(path)
    for path, blob in zip(files, _blobs(files), strict=True):
        mode = _PROGRAM if path.stat().st_mode & stat.S_IXUSR else _FILE
        yield path.relative_to(directory).as_posix(), f"{mode} {blob}"


def _blobs(files: list[Path]) -> Iterator[str]:
    """Yield the hash of each file's content, as git computes it."""
    for file in files:
        digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
        yield digest.hexdigest()


def _list(directory: Path, *arguments: str) -> list[str]:
    command = ("git", "-C", str(directory), *arguments, "-z", "--", ".")
    return list(filter(None, run(command, failing=EnvmatrixError).split("\0")))


def _walk(directory: Path) -> Iterator[str]:
    for top, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in _OTHERS]
        links = [name for name in directories if (Path(top) / name).is_symlink()]
        for name in (*files, *links):
            yield (Path(top) / name).relative_to(directory).as_posix()
