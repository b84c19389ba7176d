"""Directories packed into a tar, the same for files of equal names, contents, modes and times.

This file also runs in pods, as text: it imports nothing but the standard library of Python 3.9.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Form:
    """How entries are packed: `owner` is the id of the user and the group, `prefix` comes before
    each name, and `only` is the name of the only entry, if one is wanted. Entries of the top that
    are `left_out` are not packed, nor times unless it `has_times`."""

    owner: int = 0
    prefix: str = ""
    only: str | None = None
    left_out: tuple[str, ...] = ()
    has_times: bool = True


PLAIN = Form()


def pack(top: int, file: IO[bytes], form: Form = PLAIN) -> None:
    """Write the tar of an open directory.

    Links are never followed, also if names are replaced meanwhile. Pipes, sockets and devices are
    left out, and so are set-ID bits, and the times and modes of all but files.
    """
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for header, directory in _entries(top, form.left_out):
            if form.only not in (None, header.name):
                continue
            name = os.path.basename(header.name)  # noqa: PTH119 -- no path
            header.name = f"{form.prefix}{header.name}"
            header.uid = header.gid = form.owner
            if not form.has_times:
                header.pax_headers = {}
            if not header.isreg():
                archive.addfile(header)
                continue
            with os.fdopen(_open(name, directory), "rb") as content:
                archive.addfile(header, _Exact(content))  # type: ignore[arg-type]


def _entries(top: int, left_out: tuple[str, ...]) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Yield the header of each entry, sorted, and its open directory."""
    for place, directories, files, descriptor in os.fwalk(".", dir_fd=top):
        if place == ".":
            directories[:] = [name for name in directories if name not in left_out]
            files = [name for name in files if name not in left_out]
        for name in sorted((*directories, *files)):
            try:
                header = _header(f"{place}/{name}"[2:], name, descriptor)
            except OSError:  # it was removed meanwhile
                continue
            if header is not None:
                yield header, descriptor
        directories.sort()


def _header(path: str, name: str, directory: int) -> tarfile.TarInfo | None:
    """Return the header of an entry; None for one that is left out. Its owner can read it
    afterwards."""
    descriptor = os.open(name, _LOOK, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        header = tarfile.TarInfo(path)
        if stat.S_ISLNK(status.st_mode):
            header.type, header.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=directory)
        elif stat.S_ISDIR(status.st_mode):
            header.type, header.mode = tarfile.DIRTYPE, 0o755
            _make_readable(descriptor, status.st_mode, 0o700)
        elif stat.S_ISREG(status.st_mode):
            header.size, header.mode = status.st_size, stat.S_IMODE(status.st_mode) & 0o777
            header.pax_headers = {"mtime": _seconds(status.st_mtime_ns)}
            _make_readable(descriptor, status.st_mode, 0o400)
        else:
            return None
        return header
    finally:
        os.close(descriptor)


def _seconds(nanoseconds: int) -> str:
    """Return a time as readers of tar can tell it, in floating point: to the microsecond."""
    whole, rest = divmod(nanoseconds // 1000, 10**6)
    return f"{whole}.{rest:06}"


def _make_readable(descriptor: int, mode: int, permissions: int) -> None:
    if mode & permissions != permissions:
        with suppress(PermissionError):  # of another user: what then fails has its own error
            os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(mode) | permissions)  # noqa: PTH101


def _open(name: str, directory: int) -> int:
    """Open a file for reading: one that was replaced by a pipe or a link is empty."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError:
        return os.open(os.devnull, os.O_RDONLY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return os.open(os.devnull, os.O_RDONLY)


class _Exact:
    """A file of the size that its header says, also if it becomes shorter meanwhile."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size).ljust(size, b"\0")
