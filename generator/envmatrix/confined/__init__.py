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
from itertools import islice
from pathlib import Path
from typing import IO

from envmatrix.confined import entries
from envmatrix.confined.entries import Missing, Refused
from envmatrix.confined.listing import Entry, File, Listing, entries_below
from envmatrix.confined.packing import PLAIN, Form, pack
from envmatrix.files import open_regular
from envmatrix.records import dataclass
from envmatrix.text import one_line

__all__ = ["LARGEST", "Area", "Directory", "Entry", "File", "Missing", "Refused"]

# Of a file that is read as a whole, in bytes.
LARGEST = 64 << 20

_TIMELESS = Form(has_times=False)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Area:
    """Directory that containers write to. Its parent is written by this machine only."""

    _path: Path

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def surroundings(self) -> Path:
        """The parent directory, which no container writes to."""
        return self._path.parent

    def display_path(self, name: str) -> str:
        """Return the path of an entry, for messages."""
        return os.path.relpath(self._path / name)

    def replace_by(self, other: Area) -> None:
        """Have the directory of another area of the same parent in place of this one."""
        with self.opened() as directory:
            directory.clear()
        other._path.rename(self._path)

    def __str__(self) -> str:
        """Return the path, for messages and mounts; never for opening anything below it."""
        return str(self._path)

    @contextmanager
    def opened(self) -> Iterator[Directory]:
        """Open the directory, and create it where it is missing."""
        with entries.name_in_errors(self.name):
            self._path.mkdir(parents=True, exist_ok=True)
            descriptor = entries.reopen_directory(os.open(self._path, os.O_PATH | os.O_CLOEXEC))
        with entries.closing(descriptor):
            yield Directory(descriptor)


@dataclass(frozen=True, slots=True)
class Directory:
    """Open directory. Names are relative to it; one that leads out of it is refused."""

    _descriptor: int

    def open(self, name: str) -> IO[bytes]:
        """Open a regular file for reading. Links among its parent directories may lead to other
        places of this directory; the file itself must not be a link."""
        with self._parent(name) as (parent, last):
            return os.fdopen(entries.open_file(parent, last), "rb")

    def read(self, name: str, limit: int = LARGEST) -> bytes:
        """Return the content of a regular file; Refused where it has more than `limit` bytes."""
        with self.open(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Refused(f"`{one_line(name)}` has more than {limit >> 20} MB")
        return data

    def text(self, name: str) -> str:
        """Return the text of a regular file, with invalid UTF-8 replaced."""
        return self.read(name).decode("utf-8", "replace")

    def has(self, name: str) -> bool:
        """Return whether a regular file of this name exists at the moment."""
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
        """Return at most `most` entries of any kind, to the depth limit of listings."""
        return islice(entries_below(self._descriptor), most)

    @property
    def number(self) -> int:
        """The number of the directory in its file system, its inode."""
        return os.fstat(self._descriptor).st_ino

    @property
    def is_empty(self) -> bool:
        with os.scandir(self._descriptor) as scan:
            return next(scan, None) is None

    @property
    def size(self) -> int:
        """The size of all regular files in it, in bytes."""
        total = 0
        with entries.name_in_errors("."):
            for directory, names in entries.directories(self._descriptor):
                for name in names:
                    with suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                        total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        return total

    def sha256(self, name: str, limit: int) -> str:
        """Return the SHA-256 of a regular file of at most `limit` bytes."""
        digest, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
                size += len(piece)
                if size > limit:
                    raise Refused(f"`{one_line(name)}` has more than {limit >> 20} MB")
        return digest.hexdigest()

    def write(self, name: str, data: bytes) -> None:
        """Write a new file, in place of any entry of this name."""
        with self._create(name) as file:
            file.write(data)

    def copy(self, source: Path, name: str, *, mode: int | None = None) -> None:
        """Copy a regular file of this machine's own, with its times, and with its permissions
        unless there is a `mode`."""
        with open_regular(source) as original, self._create(name) as file:
            shutil.copyfileobj(original, file)
            status = os.fstat(original.fileno())
            permissions = stat.S_IMODE(status.st_mode if mode is None else mode)
            os.fchmod(file.fileno(), permissions & ~entries.PRIVILEGES)
            file.flush()
            os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))

    def add(self, name: str, chunks: Iterable[bytes], *, mode: int, modified: float) -> None:
        """Write a new file of any size, in place of any entry of this name, without privileges."""
        with self._create(name) as file:
            for chunk in chunks:
                file.write(chunk)
            os.fchmod(file.fileno(), mode & 0o777)
            file.flush()
            nanoseconds = round(modified * 10**6) * 1000
            os.utime(file.fileno(), ns=(nanoseconds, nanoseconds))

    @property
    def identity(self) -> str:
        """A hash of the names, modes, links and contents of everything in the directory."""
        digest = _Digest()
        with entries.name_in_errors("."):
            pack(self._descriptor, digest, _TIMELESS)  # type: ignore[arg-type]
        return digest.hash.hexdigest()

    def pack(self, file: IO[bytes], form: Form = PLAIN) -> None:
        """Write a tar of everything in the directory, the same for the same content and times."""
        with entries.name_in_errors("."):
            pack(self._descriptor, file, form)

    def link(self, name: str, target: str) -> None:
        """Create a symbolic link, in place of any entry of this name."""
        with self._parent(name, replaces=True) as (parent, last):
            os.symlink(target, last, dir_fd=parent)

    def is_as(self, name: str, size: int, modified: int) -> bool:
        """Return whether a regular file has this size in bytes and this modification time in ns."""
        try:
            with self._parent(name) as (parent, last):
                status = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except Refused:
            return False
        is_file = stat.S_ISREG(status.st_mode)
        return is_file and (status.st_size, status.st_mtime_ns) == (size, modified)

    def make_directory(self, name: str) -> None:
        """Create a directory with its parents; other entries in its way are removed."""
        with entries.name_in_errors(name):
            os.close(entries.make_directory(self._descriptor, entries.parts_of(name)))

    def remove(self, name: str) -> None:
        """Remove an entry of any kind, a directory with its content."""
        with suppress(Missing), self._parent(name) as (parent, last):
            entries.remove(parent, last)

    def clear(self) -> None:
        """Remove everything in the directory."""
        with entries.name_in_errors("."):
            for entry in entries.names_in(self._descriptor):
                entries.remove(self._descriptor, entry)

    def clear_privileges(self, *, only_own: bool = False) -> None:
        """Remove the setuid, setgid and sticky bits from the directory and its content, and remove
        devices. `only_own`: also remove entries of other users, and write permission for others;
        own entries belong to this user or to the owner of the directory."""
        status = os.fstat(self._descriptor)
        owners = {os.geteuid(), status.st_uid} if only_own else None
        permissions = entries.PRIVILEGES | (stat.S_IWOTH if only_own else 0)
        with entries.name_in_errors("."):
            entries.remove_permissions(self._descriptor, permissions)
            for directory, names in entries.directories(self._descriptor):
                for name in names:
                    with suppress(FileNotFoundError):
                        entries.make_harmless(directory, name, permissions, owners)

    @contextmanager
    def _create(self, name: str) -> Iterator[IO[bytes]]:
        with (
            self._parent(name, replaces=True) as (parent, last),
            os.fdopen(os.open(last, _CREATE, 0o644, dir_fd=parent), "wb") as file,
        ):
            yield file

    @contextmanager
    def _parent(self, name: str, *, replaces: bool = False) -> Iterator[tuple[int, str]]:
        """Open the parent directory of an entry, and yield it with the last part of the name; name
        the entry in errors. `replaces`: create that directory, in place of any other entry in its
        way, and remove the entry."""
        with entries.name_in_errors(name):
            *directories, last = entries.parts_of(name)
            enter = entries.make_directory if replaces else entries.open_through_links
            with entries.closing(enter(self._descriptor, directories)) as descriptor:
                if replaces:
                    entries.remove(descriptor, last)
                yield descriptor, last


class _Digest:
    """A file of which only the hash is kept."""

    def __init__(self) -> None:
        self.hash, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size
