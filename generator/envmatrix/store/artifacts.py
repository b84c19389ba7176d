"""Content-addressed store: files by their sha256 under the user's cache directory.

A file gets its name only after its bytes were verified, and is verified again before each use.
Several processes may fetch at once; each file is written by the holder of its lock.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from envmatrix.files import make_directory, naming, open_regular, remove_entry
from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.records import dataclass

_CHUNK = 1 << 20


class Content(Protocol):
    """The name, sha256 and size in bytes of a file."""

    @property
    def filename(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...


def sha256_of(file: Path) -> str:
    with open_regular(file) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True)
class Store:
    root: Path

    @classmethod
    def of_user(cls) -> Store:
        return cls(cache_directory() / "artifacts")

    def path(self, content: Content) -> Path:
        return self.path_of(content.sha256)

    def path_of(self, sha256: str) -> Path:
        return self.root / "sha256" / sha256[:2] / sha256

    def has(self, content: Content) -> bool:
        """Return whether a file of the right size exists; `verified` checks its bytes."""
        try:
            status = self.path(content).stat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == content.size

    def is_right(self, content: Content) -> bool:
        """Return whether the file has the right bytes."""
        try:
            return self.has(content) and sha256_of(self.path(content)) == content.sha256
        except PermissionError:
            return False

    def holds(self, content: Content) -> bool:
        """Return whether the file has the right bytes, and is no link to another one."""
        return not self.path(content).is_symlink() and self.is_right(content)

    def verified(self, content: Content) -> bool:
        """Return what `holds` does; remove what else has the name of the file. It is removed by the
        holder of its lock, as another process may put the right file there meanwhile; so whoever
        has `incoming` of it calls `holds`."""
        if self.holds(content):
            return True
        if not os.path.lexists(self.path(content)):
            return False
        with exclusive(self._lock(content)):
            if self.holds(content):
                return True
            remove_entry(self.path(content))
        return False

    @contextmanager
    def incoming(self, content: Content) -> Iterator[Path]:
        """Yield a scratch file for `content`, locked against other processes."""
        with exclusive(self._lock(content)):
            partial = self.root / "partial" / content.sha256
            make_directory(partial.parent)
            remove_entry(partial)  # of a process that was killed
            try:
                yield partial
            finally:
                remove_entry(partial)

    def _lock(self, content: Content) -> Path:
        """Return the name of a lock, and remove what is there unless it is a file. A file is never
        removed, because another process may hold its lock."""
        lock = self.root / "locks" / content.sha256
        make_directory(lock.parent)
        if not _is_file_or_absent(lock):
            with exclusive(self.root / "locks.lock"):
                if not _is_file_or_absent(lock):
                    remove_entry(lock)
        return lock

    def keep(self, content: Content, file: Path) -> None:
        """Move the verified `file` to its name, atomically."""
        final = self.path(content)
        make_directory(final.parent.parent)
        make_directory(final.parent)
        if final.is_dir() and not final.is_symlink():
            remove_entry(final)
        file.chmod(0o444)
        file.replace(final)


def _is_file_or_absent(path: Path) -> bool:
    """Return whether a regular file has a name, not a link to one, or nothing has it."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True


def link_or_copy(source: Path, destination: Path) -> None:
    """Link or copy a file; FileExistsError rather than write through an existing link."""
    try:
        destination.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without hard links
        _copy(source, destination)


def _copy(source: Path, destination: Path) -> None:
    """Copy a file to a new one; errors name the one of the two that has the problem."""
    with (
        naming(destination),
        open_regular(source) as reader,
        destination.open("xb") as writer,
    ):
        while chunk := _read(reader, source):
            writer.write(chunk)


def _read(reader: BufferedReader, file: Path) -> bytes:
    with naming(file):
        return reader.read(_CHUNK)
