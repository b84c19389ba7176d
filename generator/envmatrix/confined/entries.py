"""Entries of a directory by its descriptor: looked at, opened, made and removed without following
a link out of it. For `envmatrix.confined` alone."""

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
    """What is in the directory is not what was expected: no regular file, too large, too deep."""


class Missing(Refused):
    """There is no such entry."""


@contextmanager
def named(name: str) -> Iterator[None]:
    """Say of an error of the system which entry it is about."""
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(f"there is no `{one_line(name)}`") from error
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"`{one_line(name)}` cannot be used: {reason.lower()}") from error


def parts_of(name: str) -> Sequence[str]:
    """The components of a name or a pattern."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or PurePosixPath(name).is_absolute() or ".." in parts:
        raise Refused(f"`{one_line(name)}` is no name of something in the directory")
    return parts


def entered(looked: int) -> int:
    """A directory opened from a descriptor that only looks at it, which is closed; its owner may
    read and write it afterwards."""
    try:
        mode = os.fstat(looked).st_mode
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(0, "it is no directory")
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            with suppress(PermissionError):  # of another user: what then fails has its own error
                os.chmod(f"/proc/self/fd/{looked}", stat.S_IMODE(mode) | stat.S_IRWXU)  # noqa: PTH101
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=looked)
    finally:
        os.close(looked)


def own_directory(top: int, parts: Sequence[str]) -> int:
    """The directory below `top` at the end of `parts`, over no link."""
    return _walked(top, parts, lambda at, part: os.open(part, _ENTER, dir_fd=at))


def existing(top: int, parts: Sequence[str]) -> int:
    """The same, over links that stay below `top`: as if it were the root of all that there is."""
    try:
        return own_directory(top, parts)
    except NotADirectoryError:  # a link is none
        return own_directory(top, resolved(top, parts))


def made(top: int, parts: Sequence[str]) -> int:
    def enter(at: int, part: str) -> int:
        for _ in range(2):
            try:
                return entered(os.open(part, _LOOK, dir_fd=at))
            except FileNotFoundError:
                pass
            except NotADirectoryError:
                remove(at, part)
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=at)
        return os.open(part, _ENTER, dir_fd=at)

    return _walked(top, parts, enter)


def _walked(top: int, parts: Iterable[str], enter: Callable[[int, str], int]) -> int:
    here = os.dup(top)
    for part in parts:
        try:
            below = enter(here, part)
        finally:
            os.close(here)
        here = below
    return here


def resolved(top: int, parts: Sequence[str]) -> tuple[str, ...]:
    """`parts` without links. Where one is exchanged for a link afterwards, it is not followed."""
    waiting, found, links = [*reversed(parts)], list[str](), 0
    while waiting:
        part = waiting.pop()
        target = _target(top, (*found, part))
        if target is None:
            found.append(part)
            continue
        links += 1
        waiting += reversed(_inside(found, target, part))
        found.clear()
        if links > _MOST_LINKS or len(waiting) > _MOST_PARTS:
            raise Refused(f"`{one_line(part)}` leads over too many links or directories")
    return tuple(found)


def _target(top: int, parts: Sequence[str]) -> str | None:
    """Where a link leads; None for what is no link."""
    directory = own_directory(top, parts[:-1])
    try:
        return os.readlink(parts[-1], dir_fd=directory)
    except OSError:
        return None
    finally:
        os.close(directory)


def _inside(directory: Sequence[str], target: str, link: str) -> Sequence[str]:
    """The place that a link in `directory` leads to, from the top, where that is inside."""
    found = list(directory)
    for part in PurePosixPath(target).parts:
        if part == "/" or (part == ".." and not found):
            raise Refused(f"`{one_line(link)}` is a link that leads out of the directory")
        if part == "..":
            found.pop()
        else:
            found.append(part)
    return found


def regular(directory: int, name: str) -> int:
    """A regular file opened to be read. What it is, is asked of the same file before."""
    looked = os.open(name, _LOOK, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(looked).st_mode):
            raise OSError(0, "it is no regular file")
        return os.open(f"/proc/self/fd/{looked}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(looked)


def names_in(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def remove(parent: int, name: str) -> None:
    """Remove an entry of an open directory. Directories in directories are moved up before they
    are emptied, so depth costs neither stack nor descriptors."""
    if _is_unlinked(parent, name):
        return
    waiting = [name]
    while waiting:
        emptied = waiting.pop()
        directory = entered(os.open(emptied, _LOOK, dir_fd=parent))
        try:
            for entry in names_in(directory):
                if _is_unlinked(directory, entry):
                    continue
                with suppress(OSError):  # not empty, mostly
                    os.rmdir(entry, dir_fd=directory)
                    continue
                os.close(entered(os.open(entry, _LOOK, dir_fd=directory)))  # else it cannot move
                moved = f".removed-{os.urandom(8).hex()}"
                os.rename(entry, moved, src_dir_fd=directory, dst_dir_fd=parent)
                waiting.append(moved)
        finally:
            os.close(directory)
        os.rmdir(emptied, dir_fd=parent)


def _is_unlinked(parent: int, name: str) -> bool:
    """Remove what is no directory; True also where nothing is there."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        looked = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(looked.st_mode):
            return False
        raise
    return True


def make_harmless(directory: int, name: str, taken: int, owners: Collection[int] | None) -> None:
    """Take permissions from an entry; remove it where it is a device, or belongs to none of
    `owners`."""
    known = os.stat(name, dir_fd=directory, follow_symlinks=False)
    mode = known.st_mode
    is_foreign = owners is not None and known.st_uid not in owners
    if is_foreign or stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        remove(directory, name)
    elif mode & taken and not stat.S_ISLNK(mode):
        looked = os.open(name, _LOOK, dir_fd=directory)
        try:
            take_permissions(looked, taken)
        finally:
            os.close(looked)


def take_permissions(descriptor: int, taken: int) -> None:
    """Take permissions from what is open, if only to be looked at; a link has none."""
    mode = os.fstat(descriptor).st_mode
    if mode & taken and not stat.S_ISLNK(mode):
        os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(mode) & ~taken)  # noqa: PTH101


def directories(top: int) -> Iterator[int]:
    """`top` and every directory below it, one open at a time, however deep."""
    here = os.dup(top)
    try:
        yield here
        waiting = [(_identity(here), _subdirectories(here))]
        while waiting:
            _, names = waiting[-1]
            if names:
                try:
                    below = entered(os.open(names.pop(), _LOOK, dir_fd=here))
                except (FileNotFoundError, NotADirectoryError):
                    continue
                os.close(here)
                here = below
                yield here
                waiting.append((_identity(here), _subdirectories(here)))
                continue
            waiting.pop()
            if waiting:
                above = os.open("..", _ENTER, dir_fd=here)
                os.close(here)
                here = above
                if _identity(here) != waiting[-1][0]:
                    raise Refused("the directory changed while it was looked at")
    finally:
        os.close(here)


def _identity(descriptor: int) -> tuple[int, int]:
    known = os.fstat(descriptor)
    return known.st_dev, known.st_ino


def _subdirectories(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
