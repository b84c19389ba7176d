"""Bytes of files and of ranges, read at any offset. Pure."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol

from envmatrix.records import dataclass

# An offset and a size in bytes.
Span = tuple[int, int]

# The most that is read into memory at once. Directories and headers of archives are smaller.
LARGEST_READ = 1 << 28


class Unsuitable(Exception):
    """No excerpt can be made of an archive: it is damaged, of another kind, or in one piece."""


class Reader(Protocol):
    """A file of `size` bytes; Unsuitable where some of them cannot be read."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, size: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class BytesReader:
    """A file in memory."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, offset: int, size: int) -> bytes:
        if offset + size > len(self.content):
            raise Unsuitable(f"it ends before byte {offset + size}")
        return self.content[offset : offset + size]


@dataclass(frozen=True, slots=True)
class RangesReader:
    """A file of which only ranges can be read: each has its offset and a reader, in their order."""

    size: int
    ranges: Sequence[tuple[int, Reader]]

    def read(self, offset: int, size: int) -> bytes:
        position = bisect_right(self.ranges, offset, key=lambda row: row[0]) - 1
        if position >= 0:
            start, reader = self.ranges[position]
            if offset + size <= start + reader.size:
                return reader.read(offset - start, size)
        raise Unsuitable(f"bytes {offset} to {offset + size} are in no range")


class ReaderFile:
    """What `tarfile` and `zipfile` need of a file, without unlimited reads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = max(self._reader.size - self._position, 0)
        size = left if size < 0 else min(size, left)
        if size > LARGEST_READ:
            raise Unsuitable(f"it has a header of {size} bytes")
        content = self._reader.read(self._position, size)
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_CUR: self._position, io.SEEK_END: self._reader.size}.get(whence, 0)
        self._position = max(start + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Do nothing: the reader belongs to the caller."""


def joined(spans: Iterable[Span], gap: int = 0) -> tuple[Span, ...]:
    """Return spans in order, joined where there are at most `gap` bytes between two."""
    rows: list[Span] = []
    for offset, size in sorted(spans):
        if rows and offset <= sum(rows[-1]) + gap:
            start, length = rows[-1]
            rows[-1] = start, max(length, offset + size - start)
        else:
            rows.append((offset, size))
    return tuple(rows)


def covers(spans: Iterable[Span], span: Span) -> bool:
    """Return whether one of `spans` has all bytes of another one."""
    return any(start <= span[0] and sum(span) <= start + size for start, size in spans)
