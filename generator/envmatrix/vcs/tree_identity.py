"""The files of a source tree, committed or not, and its identity: a hash of them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.vcs.git import list_tree

# Tag of `git ls-files -v` of files that git compares with the working tree.
_COMPARED = "H"
_SUBMODULE, _LINK, _PROGRAM, _FILE = "160000", "120000", "100755", "100644"
# Directories that are no source: version control's, and that of results.
_RESULTS = ".envmatrix"
_OTHERS = (".git", ".hg", ".svn", _RESULTS)


def tree_identity(directory: Path, left_out: Path | None = None) -> str:
    """Return a hash (sha256, hex) of a directory without one of its directories: the names, modes
    and contents of its files.

    It is the same before and after a commit. Files that git ignores do not count; where git has no
    repository, all files count. Results never count. Raise ConfigurationError for what counts and
    cannot be read, as changes in it would not be seen.
    """
    try:
        unchanged, others = _known_to_git(directory, left_out)
    except ConfigurationError:
        raise
    except EnvmatrixError:
        unchanged, others = {}, set(walk_files(directory, left_out, _refuse))
    entries = {**unchanged, **dict(_entries(directory, others))}
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        digest.update(f"{name}\0{entry}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _known_to_git(directory: Path, left_out: Path | None) -> tuple[dict[str, str], set[str]]:
    """Return the mode and the blob of each file that is as in git's index, by name, and the names
    of all others that git does not ignore."""
    paths = [".", f":(exclude,glob)**/{_RESULTS}/**"]
    if left_out and directory in left_out.parents:
        paths.append(f":(exclude,literal){left_out.relative_to(directory)}")
    rows = partial(_list, directory, paths)
    unchanged, others = {}, set()
    for row in rows("ls-files", "-v", "-s"):
        about, _, name = row.partition("\t")
        tag, mode, blob, stage = about.split()
        if (tag, stage) == (_COMPARED, "0") and mode in (_FILE, _PROGRAM):
            unchanged[name] = f"{mode} {blob}"
        else:
            others.add(name)
    others |= {*rows("diff-files", "--name-only", "--relative", "--ignore-submodules")}
    others |= {*rows("ls-files", "--others", "--exclude-standard")}
    return {name: unchanged[name] for name in unchanged.keys() - others}, others


def _entries(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the mode and the blob, or the target, of files as they are in the working tree."""
    for name in names:
        path = directory / name
        if path.is_symlink():
            yield name, f"{_LINK} {os.readlink(path)}"  # noqa: PTH115 -- as it is
        elif path.is_dir():
            yield name, f"{_SUBMODULE} {tree_identity(path)}"
        elif path.is_file():
            mode = _PROGRAM if path.stat().st_mode & stat.S_IXUSR else _FILE
            yield name, f"{mode} {_blob(path)}"


def _blob(file: Path) -> str:
    """Return the hash of a file's content, as git computes it."""
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _list(directory: Path, paths: Sequence[str], *arguments: str) -> list[str]:
    return list_tree(directory, *arguments, "-z", "--", *paths)


def tree_state(directory: Path, left_out: Path | None = None) -> str:
    """Return a hash (sha256, hex) of the sizes and times of the files of a directory, which differ
    once one of them was written, even if it has its earlier content again."""
    digest = hashlib.sha256()
    for name in sorted(walk_files(directory, left_out)):
        with suppress(FileNotFoundError):
            status = (directory / name).lstat()
            state = (name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(f"{state}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def walk_files(
    directory: Path,
    left_out: Path | None = None,
    on_error: Callable[[OSError], None] | None = None,
) -> Iterator[str]:
    """Yield the names of files and links below a directory, without one of its directories, and
    without those of version control and of results. Directories that cannot be read are empty,
    unless `on_error` raises."""
    for top, names, files in os.walk(directory, onerror=on_error):
        place = Path(top)
        names[:] = [name for name in names if name not in _OTHERS and place / name != left_out]
        links = [name for name in names if (place / name).is_symlink()]
        for name in (*files, *links):
            yield (place / name).relative_to(directory).as_posix()


def _refuse(error: OSError) -> None:
    if isinstance(error, PermissionError):
        hint = "permit yourself to read it"
        raise ConfigurationError(f"`{error.filename}` cannot be read", hint=hint) from error
