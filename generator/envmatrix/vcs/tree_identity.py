"""The files of a source tree, committed or not, and its identity: a hash of them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.vcs.git import list_tree

# Tag of `git ls-files -v` of files that git compares with the working tree.
_COMPARED = "H"
# The row of `git status --porcelain=v2` that has the commit.
_HEAD = "# branch.oid "
_SUBMODULE, _LINK, _PROGRAM, _FILE = "160000", "120000", "100755", "100644"
# Directories that are no source: version control's, and that of results.
_RESULTS = ".envmatrix"
_OTHERS = (".git", ".hg", ".svn", _RESULTS)


def tree_identity(directory: Path, left_out: Path | None = None) -> str:
    """Return a hash (sha256, hex) of a directory without one of its directories: the names, modes
    and contents of its files.

    It is the same before and after a commit, except one in a submodule, which is known by its
    commit so that it need not be checked out. Files that git ignores do not count; where git has no
    repository, all files count. Results never count. Raise ConfigurationError for what counts and
    cannot be read, as changes in it would not be seen.
    """
    return tree_identities([directory], left_out)[directory]


def tree_identities(
    directories: Iterable[Path], left_out: Path | None = None
) -> Mapping[Path, str]:
    """Return the identity of each of some directories; git is started as often for all those of a
    repository as for one."""
    groups: defaultdict[tuple[Path, bool], dict[Path, Path]] = defaultdict(dict)
    for directory in directories:
        place, is_parent = directory.resolve(), left_out and directory in left_out.parents
        groups[_repository_of(place), bool(is_parent)][directory] = place
    identities: dict[Path, str] = {}
    for (_, is_parent), places in groups.items():
        files = _files_of(places, left_out if is_parent else None)
        identities |= {directory: _identity(directory, *files[directory]) for directory in places}
    return identities


def _repository_of(place: Path) -> Path:
    """Return the directory around `place` that git may have a repository in, or else `place`; what
    is in a directory of results is on its own, as results are left out."""
    parents = () if _RESULTS in place.parts else (place, *place.parents)
    return next((parent for parent in parents if os.path.lexists(parent / ".git")), place)


def _identity(directory: Path, unchanged: Mapping[str, str], others: Iterable[str]) -> str:
    entries = {**unchanged, **dict(_entries(directory, others))}
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        digest.update(f"{name}\0{entry}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


# The mode and the blob of each file that is as in git's index, by name, and the names of all others
# that git does not ignore.
_Files = tuple[dict[str, str], set[str]]


def _files_of(places: Mapping[Path, Path], left_out: Path | None) -> Mapping[Path, _Files]:
    """Return the files of the directories of a repository, which are at `places`."""
    top = Path(os.path.commonpath(places.values()))
    starts = {directory: _start(place.relative_to(top)) for directory, place in places.items()}
    try:
        unchanged, others = _known_to_git(top, starts, left_out)
    except ConfigurationError:
        if len(places) == 1:
            raise
        # It may be a directory beside them that git cannot read.
        rows = (_files_of({each: place}, left_out) for each, place in places.items())
        return {each: files for row in rows for each, files in row.items()}
    except EnvmatrixError:
        return {each: ({}, {*walk_files(each, left_out, _refuse)}) for each in places}
    return {
        directory: (
            {
                name.removeprefix(start): unchanged[name]
                for name in unchanged
                if name.startswith(start)
            },
            {name.removeprefix(start) for name in others if name.startswith(start)},
        )
        for directory, start in starts.items()
    }


def _start(path: Path) -> str:
    """Return how the names of all files in a directory begin."""
    return "" if path == Path() else f"{path.as_posix()}/"


def _known_to_git(top: Path, starts: Mapping[Path, str], left_out: Path | None) -> _Files:
    """Return the files below `top` whose names have one of the `starts`."""
    paths = [f":(literal){start}" if start else "." for start in starts.values()]
    paths.append(f":(exclude,glob)**/{_RESULTS}/**")
    if left_out:
        names = (f"{start}{left_out.relative_to(each)}" for each, start in starts.items())
        paths += (f":(exclude,literal){name}" for name in names)
    rows = partial(_list, top, paths)
    unchanged, others = {}, set()
    for row in rows("ls-files", "-v", "-s"):
        about, _, name = row.partition("\t")
        tag, mode, blob, stage = about.split()
        if (tag, stage) == (_COMPARED, "0") and mode in (_FILE, _PROGRAM):
            unchanged[name] = f"{mode} {blob}"
        elif mode != _SUBMODULE:
            others.add(name)
        elif name != "./":  # of which nothing is checked out
            unchanged[name] = f"{mode} {_submodule(top / name, blob)}"
    others |= {*rows("diff-files", "--name-only", "--relative", "--ignore-submodules")}
    others |= {*rows("ls-files", "--others", "--exclude-standard")}
    return {name: unchanged[name] for name in unchanged.keys() - others}, others


def _submodule(directory: Path, commit: str) -> str:
    """Return the identity of a submodule: its commit, which is `commit` where it is not checked
    out, or that of its files where they differ from it."""
    if directory.is_symlink():
        return f"{_LINK} {os.readlink(directory)}"  # noqa: PTH115 -- as it is
    if not os.path.lexists(directory / ".git"):
        files = {*walk_files(directory)}
        return _identity(directory, {}, files) if files else commit
    commit_of_files = None
    with suppress(EnvmatrixError):  # where files count alone, or cannot be read, which raises below
        commit_of_files = _commit_of(directory)
    return commit_of_files or tree_identity(directory)


def _commit_of(directory: Path) -> str | None:
    """Return the commit that is checked out; None where files differ from it."""
    status = ("--porcelain=v2", "--branch", "--untracked-files=normal", "--ignore-submodules=none")
    head, *changes = (
        row
        for row in list_tree(directory, "status", "-z", *status)
        if row.startswith(_HEAD) or not row.startswith("# ")
    )
    tags = (row[0] for row in list_tree(directory, "ls-files", "-v", "-z"))
    return None if changes or {*tags} - {_COMPARED} else head.removeprefix(_HEAD)


def _entries(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the mode and the blob, or the target, of files as they are in the working tree."""
    for name in names:
        path = directory / name
        if path.is_symlink():
            yield name, f"{_LINK} {os.readlink(path)}"  # noqa: PTH115 -- as it is
        elif path.is_dir():  # of another repository
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
