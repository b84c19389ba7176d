"""Directories that programs in containers write to: the only way in which the rest of the program
touches what is in them.

What a container wrote is input from a stranger. An `Area` is the place of such a directory, and
gives no path to open. A `Directory` is an area held open: names in it are opened from its
descriptor one component at a time, links are never followed out of it, only regular files are
opened, and everything is bounded. No check is made on a name that could be another file a moment
later.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO

from envmatrix.confined import entries
from envmatrix.confined.entries import Missing, Refused
from envmatrix.confined.listing import Entry, File, Listing, entries_below
from envmatrix.files import open_regular
from envmatrix.text import one_line

__all__ = ["LARGEST", "Area", "Directory", "Entry", "File", "Missing", "Refused"]

# Of a file that is read as a whole, in bytes.
LARGEST = 64 << 20

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Area:
    """A directory that containers write to. It lies in one that only this machine writes to."""

    _path: Path

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def surroundings(self) -> Path:
        """The directory around it, which no container writes to."""
        return self._path.parent

    def shown(self, name: PurePosixPath) -> str:
        """The path of something in it, for people."""
        return os.path.relpath(self._path / name)

    def __str__(self) -> str:
        """The path, for messages and mounts; never for opening anything below it."""
        return str(self._path)

    @contextmanager
    def opened(self) -> Iterator[Directory]:
        """The directory, made where it is missing."""
        with entries.named(self.name):
            self._path.mkdir(parents=True, exist_ok=True)
            descriptor = entries.entered(os.open(self._path, os.O_PATH | os.O_CLOEXEC))
        try:
            yield Directory(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory. Names are relative to it; one that leads elsewhere is refused."""

    _descriptor: int

    def open(self, name: str) -> IO[bytes]:
        """Open a regular file to read it. Links among its directories may lead to other places
        of this directory; it is no link itself."""
        with entries.named(name), self._parent(name) as (parent, last):
            return os.fdopen(entries.regular(parent, last), "rb")

    def read(self, name: str, limit: int = LARGEST) -> bytes:
        """Return what a regular file has, at most `limit` bytes."""
        with self.open(name) as file:
            found = file.read(limit + 1)
        if len(found) > limit:
            raise Refused(f"`{one_line(name)}` has more than {limit >> 20} MB")
        return found

    def text(self, name: str) -> str:
        """Return what a regular file says, whatever its bytes are."""
        return self.read(name).decode("utf-8", "replace")

    def has(self, name: str) -> bool:
        """Return whether there is a regular file of this name at the moment."""
        try:
            self.open(name).close()
        except Refused:
            return False
        return True

    def files(self, patterns: Iterable[str]) -> tuple[File, ...]:
        """Return the regular files that match one of `patterns`, sorted.

        `*`, `?` and `[...]` match within a name, `**` any directories. No link is a file, and
        patterns lead through links only where they name them, and these stay in this directory.
        """
        return tuple(sorted(Listing(self._descriptor).of(patterns)))

    def entries(self, most: int) -> Iterator[Entry]:
        """Return at most `most` entries of any kind, at any depth that a listing goes to."""
        return islice(entries_below(self._descriptor), most)

    @property
    def is_empty(self) -> bool:
        with os.scandir(self._descriptor) as found:
            return next(found, None) is None

    @property
    def size(self) -> int:
        """The bytes of all regular files in it."""
        total = 0
        with entries.named("."):
            for directory in entries.directories(self._descriptor):
                for name in entries.names_in(directory):
                    with suppress(FileNotFoundError):
                        known = os.stat(name, dir_fd=directory, follow_symlinks=False)
                        total += known.st_size if stat.S_ISREG(known.st_mode) else 0
        return total

    def sha256(self, name: str, limit: int) -> str:
        """Return the hash of a regular file of at most `limit` bytes."""
        digest, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
                size += len(piece)
                if size > limit:
                    raise Refused(f"`{one_line(name)}` has more than {limit >> 20} MB")
        return digest.hexdigest()

    def write(self, name: str, data: bytes) -> None:
        """Have a new file of this name, in place of whatever is there."""
        with self._created(name) as file:
            file.write(data)

    def copy(self, source: Path, name: str, *, mode: int | None = None) -> None:
        """Copy a regular file of this machine's own, with its times, and its permissions unless
        they are given."""
        with open_regular(source) as original, self._created(name) as file:
            shutil.copyfileobj(original, file)
            known = os.fstat(original.fileno())
            permissions = stat.S_IMODE(known.st_mode if mode is None else mode)
            os.fchmod(file.fileno(), permissions & ~entries.PRIVILEGES)
            file.flush()
            os.utime(file.fileno(), ns=(known.st_atime_ns, known.st_mtime_ns))

    def link(self, name: str, target: str) -> None:
        """Have a symbolic link of this name, in place of whatever is there."""
        with entries.named(name), self._parent(name, makes=True) as (parent, last):
            entries.remove(parent, last)
            os.symlink(target, last, dir_fd=parent)

    def is_as(self, name: str, size: int, modified: int) -> bool:
        """Return whether there is a regular file of this size and time of change, in ns."""
        try:
            with self._parent(name) as (parent, last):
                known = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except (OSError, Refused):
            return False
        is_file = stat.S_ISREG(known.st_mode)
        return is_file and (known.st_size, known.st_mtime_ns) == (size, modified)

    def make_directory(self, name: str) -> None:
        """Have a directory of this name; what else is in its way is removed."""
        with entries.named(name):
            os.close(entries.made(self._descriptor, entries.parts_of(name)))

    def remove(self, name: str) -> None:
        """Remove an entry of any kind, a directory with all that is in it."""
        with suppress(Missing), entries.named(name), self._parent(name) as (parent, last):
            entries.remove(parent, last)

    def clear(self) -> None:
        """Remove everything in the directory."""
        with entries.named("."):
            for entry in entries.names_in(self._descriptor):
                entries.remove(self._descriptor, entry)

    def clear_privileges(self, *, only_own: bool = False) -> None:
        """Take the setuid, setgid and sticky bits from the directory and everything in it, and
        remove devices. `only_own`: remove what belongs to others as well, and let nobody else
        write; own is what belongs to this user or to whom the directory belongs."""
        known = os.fstat(self._descriptor)
        owners = {os.geteuid(), known.st_uid} if only_own else None
        taken = entries.PRIVILEGES | (stat.S_IWOTH if only_own else 0)
        with entries.named("."):
            entries.take_permissions(self._descriptor, taken)
            for directory in entries.directories(self._descriptor):
                for name in entries.names_in(directory):
                    with suppress(FileNotFoundError):
                        entries.make_harmless(directory, name, taken, owners)

    @contextmanager
    def _created(self, name: str) -> Iterator[IO[bytes]]:
        with entries.named(name), self._parent(name, makes=True) as (parent, last):
            entries.remove(parent, last)
            with os.fdopen(os.open(last, _CREATE, 0o644, dir_fd=parent), "wb") as file:
                yield file

    @contextmanager
    def _parent(self, name: str, *, makes: bool = False) -> Iterator[tuple[int, str]]:
        """The directory that an entry is in, open, and the last part of its name. `makes`: have
        that directory, in place of whatever else is in its way."""
        *directories, last = entries.parts_of(name)
        descriptor = (entries.made if makes else entries.existing)(self._descriptor, directories)
        try:
            yield descriptor, last
        finally:
            os.close(descriptor)
