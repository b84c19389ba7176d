"""Operations on directory entries by descriptor: open, create and remove without following a link
out of the directory. For `envmatrix.confined` alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

from envmatrix.errors import EnvmatrixError
from envmatrix.text import one_line

# Enough to look at an entry of any kind, without opening it: nothing blocks, no device notices.
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

PRIVILEGES = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX

# Links that one name may lead over, and directories on the way that one says: each part is opened
# from the top.
_MOST_LINKS = 8
_MOST_PARTS = 256


class Refused(EnvmatrixError):
    """Unexpected content of the directory: no regular file, too large, too deep."""


class Missing(Refused):
    """Missing entry."""


@contextmanager
def name_in_errors(name: str) -> Iterator[None]:
    """Convert errors of the system to errors that name the entry."""
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(f"there is no `{one_line(name)}`") from error
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"`{one_line(name)}` cannot be used: {reason.lower()}") from error


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def parts_of(name: str) -> Sequence[str]:
    """Return the components of a name or a pattern; Refused where it leads out of the directory."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or PurePosixPath(name).is_absolute() or ".." in parts:
        raise Refused(f"`{one_line(name)}` is no name of something in the directory")
    return parts


def reopen_directory(descriptor: int) -> int:
    """Open a directory by its O_PATH descriptor, which is closed; its owner may read and write it
    afterwards."""
    with closing(descriptor):
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(0, "it is no directory")
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            with suppress(PermissionError):  # of another user: what then fails has its own error
                os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(mode) | stat.S_IRWXU)  # noqa: PTH101
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)


def open_directory(top: int, parts: Sequence[str]) -> int:
    """Open the directory at `parts` below `top`, without following links."""
    return _walk(top, parts, lambda at, part: os.open(part, _ENTER, dir_fd=at))


def open_through_links(top: int, parts: Sequence[str]) -> int:
    """Open the directory at `parts` below `top`, through links that stay below `top`, as if it were
    the root directory."""
    try:
        return open_directory(top, parts)
    except NotADirectoryError:  # a link is none
        return open_directory(top, resolve_links(top, parts))


def make_directory(top: int, parts: Sequence[str]) -> int:
    def enter(at: int, part: str) -> int:
        for _ in range(2):
            try:
                return reopen_directory(os.open(part, _LOOK, dir_fd=at))
            except FileNotFoundError:
                pass
            except NotADirectoryError:
                remove(at, part)
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=at)
        return os.open(part, _ENTER, dir_fd=at)

    return _walk(top, parts, enter)


def _walk(top: int, parts: Iterable[str], enter: Callable[[int, str], int]) -> int:
    directory = os.dup(top)
    for part in parts:
        with closing(directory):
            below = enter(directory, part)
        directory = below
    return directory


def resolve_links(top: int, parts: Sequence[str]) -> tuple[str, ...]:
    """Return `parts` without links. One that is replaced by a link afterwards is not followed."""
    pending, components, links = [*reversed(parts)], list[str](), 0
    while pending:
        part = pending.pop()
        target = _target(top, (*components, part))
        if target is None:
            components.append(part)
            continue
        links += 1
        pending += reversed(_inside(components, target, part))
        components.clear()
        if links > _MOST_LINKS or len(pending) > _MOST_PARTS:
            raise Refused(f"`{one_line(part)}` leads over too many links or directories")
    return tuple(components)


def _target(top: int, parts: Sequence[str]) -> str | None:
    """Return the target of a link; None for any other entry."""
    with closing(open_directory(top, parts[:-1])) as directory:
        try:
            return os.readlink(parts[-1], dir_fd=directory)
        except OSError:
            return None


def _inside(directory: Sequence[str], target: str, link: str) -> Sequence[str]:
    """Return the components below the top that a link in `directory` leads to; Refused outside
    it."""
    components = list(directory)
    for part in PurePosixPath(target).parts:
        if part == "/" or (part == ".." and not components):
            raise Refused(f"`{one_line(link)}` is a link that leads out of the directory")
        if part == "..":
            components.pop()
        else:
            components.append(part)
    return components


def open_file(directory: int, name: str) -> int:
    """Open a regular file for reading; its type is checked on the same file before."""
    with closing(os.open(name, _LOOK, dir_fd=directory)) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file")
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def names_in(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def remove(parent: int, name: str) -> None:
    """Remove an entry of an open directory. Nested directories are moved up before they are
    emptied, so depth costs neither stack nor descriptors."""
    if _is_unlinked(parent, name):
        return
    pending = [name]
    while pending:
        emptied = pending.pop()
        with closing(reopen_directory(os.open(emptied, _LOOK, dir_fd=parent))) as directory:
            for entry in names_in(directory):
                if _is_unlinked(directory, entry):
                    continue
                with suppress(OSError):  # not empty, mostly
                    os.rmdir(entry, dir_fd=directory)
                    continue
                # A directory that its owner cannot write to cannot be moved.
                os.close(reopen_directory(os.open(entry, _LOOK, dir_fd=directory)))
                moved_name = f".removed-{os.urandom(8).hex()}"
                os.rename(entry, moved_name, src_dir_fd=directory, dst_dir_fd=parent)
                pending.append(moved_name)
        os.rmdir(emptied, dir_fd=parent)


def _is_unlinked(parent: int, name: str) -> bool:
    """Remove an entry that is not a directory; return True also where it is missing."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return False
        raise
    return True


def make_harmless(
    directory: int, name: str, permissions: int, owners: Collection[int] | None
) -> None:
    """Remove permissions from an entry, or the entry itself where it is a device, or belongs to
    none of `owners`."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not _is_removed(status, owners) and not _has_permissions(status.st_mode, permissions):
        return  # as most are: it need not be opened
    with closing(os.open(name, _LOOK, dir_fd=directory)) as descriptor:
        if _is_removed(os.fstat(descriptor), owners):
            remove(directory, name)
        else:
            remove_permissions(descriptor, permissions)


def _is_removed(status: os.stat_result, owners: Collection[int] | None) -> bool:
    """Return whether an entry is a device, or belongs to none of `owners`."""
    is_foreign = owners is not None and status.st_uid not in owners
    return is_foreign or stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)


def remove_permissions(descriptor: int, permissions: int) -> None:
    """Remove permissions from an open entry, also from an O_PATH descriptor."""
    mode = os.fstat(descriptor).st_mode
    if _has_permissions(mode, permissions):
        os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(mode) & ~permissions)  # noqa: PTH101


def _has_permissions(mode: int, permissions: int) -> bool:
    """Return whether an entry has one of `permissions`; a link has none."""
    return bool(mode & permissions) and not stat.S_ISLNK(mode)


def directories(top: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield `top` and every directory below it, each with the names of its entries; with one
    descriptor open at a time, at any depth."""
    directory = os.dup(top)
    try:
        names, below = _scan(directory)
        yield directory, names
        pending = [(os.fstat(directory), below)]
        while pending:
            _, below = pending[-1]
            if below:
                try:
                    entered = reopen_directory(os.open(below.pop(), _LOOK, dir_fd=directory))
                except (FileNotFoundError, NotADirectoryError):
                    continue
                os.close(directory)
                directory = entered
                names, below = _scan(directory)
                yield directory, names
                pending.append((os.fstat(directory), below))
                continue
            pending.pop()
            if pending:
                above = os.open("..", _ENTER, dir_fd=directory)
                os.close(directory)
                directory = above
                if not os.path.samestat(os.fstat(directory), pending[-1][0]):
                    raise Refused("the directory changed while it was looked at")
    finally:
        os.close(directory)


def _scan(directory: int) -> tuple[list[str], list[str]]:
    """Return the names of the entries of a directory, and those of its directories."""
    names, directories = [], []
    with os.scandir(directory) as entries:
        for entry in entries:
            names.append(entry.name)
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
    return names, directories
