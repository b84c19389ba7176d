"""The entries of a tar or a zip, read one by one with bounded memory.

The formats are parsed by the standard library, which trusts sizes that an archive names: what it
may read at once, and in all, is limited here.
"""

from __future__ import annotations

import bz2
import calendar
import errno
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal, Protocol, TypeAlias, cast

from envmatrix.records import dataclass

EntryKind: TypeAlias = Literal["file", "directory", "link", "hard link"]

_CHUNK = 1 << 18
# The limit of unpacked bytes, which grows with the size of the archive.
_BYTES, _RATIO, _MOST_BYTES = 1 << 28, 200, 1 << 36
# Of a tar's headers between two files, of a zip's directory, and of what an xz refers back to.
_HEADER_BYTES = 1 << 18
_DIRECTORY_BYTES = 1 << 25
_DICTIONARY_BYTES = 1 << 28
_GLOBAL_HEADERS = 100
_LINK_BYTES = 4096

_EXTENDED_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_KINDS_IN_TAR: Mapping[bytes, EntryKind] = {
    **dict.fromkeys(tarfile.REGULAR_TYPES, "file"),
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
}
_SPECIAL = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_ENCRYPTED = 0x41
# The systems of a zip's entry whose attributes have a mode.
_UNIX = (3, 19)


class BadArchive(Exception):
    """The archive is damaged, or not supported."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """An entry of an archive; `link` is the target of a link as written. `mode` are the permissions
    in a tar."""

    name: str
    kind: EntryKind
    link: str = ""
    is_executable: bool = False
    mode: int = 0o644
    modified: float = 0
    content: _Stream | None = None

    def read(self, size: int) -> bytes:
        return self.content.read(size) if self.content else b""


def read_entries(file: Path, *, omits_special: bool = False) -> Iterator[ArchiveEntry]:
    """Yield the entries of an archive in order; each is read before the next. `omits_special`:
    leave out the devices and pipes of a tar, instead of BadArchive."""
    limit = _limit(file.stat().st_size)
    with file.open("rb") as raw:
        stream = _decompress(raw)
        with reading():
            is_zip = stream is raw and zipfile.is_zipfile(file)
        if is_zip:
            with _Window(file) as window:
                yield from _zip_entries(window, limit)
        else:
            yield from _tar_entries(stream, limit, omits_special=omits_special)


def read_zip(handle: IO[bytes]) -> Iterator[ArchiveEntry]:
    """Yield the entries of an open zip file; each is read before the next."""
    descriptor = handle.fileno()
    limit = _limit(os.fstat(descriptor).st_size)
    with _Window(descriptor, closefd=False) as window:
        yield from _zip_entries(window, limit)


def _limit(size: int) -> int:
    """Return how many bytes an archive of a size may unpack to."""
    return min(max(_BYTES, size * _RATIO), _MOST_BYTES)


@contextmanager
def reading() -> Iterator[None]:
    """Turn the undocumented errors of parsers into BadArchive; errors of the disk stay."""
    try:
        yield
    except BadArchive:
        raise
    except EOFError as error:
        raise BadArchive("it ends too early") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EOVERFLOW):
            raise
        raise BadArchive(str(error) or type(error).__name__) from error


@dataclass
class _Budget:
    """The limit of bytes of all files of an archive together; `allowed` is a lower one while a
    header is read."""

    limit: int
    allowed: int = _MOST_BYTES
    used: int = 0

    def take(self, count: int) -> None:
        self.used += count
        if self.used > self.limit:
            raise BadArchive(f"it unpacks to more than {self.limit >> 20} MiB")
        if self.used > self.allowed:
            raise BadArchive(f"a header in it has more than {_HEADER_BYTES} bytes")


@dataclass
class _Content:
    stream: _Stream
    budget: _Budget

    def read(self, size: int) -> bytes:
        with reading():
            chunk = self.stream.read(size)
        self.budget.take(len(chunk))
        return chunk


def _decompress(raw: IO[bytes]) -> _Stream:
    magic = raw.read(6)
    raw.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    if magic.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return _Xz(raw)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        raise BadArchive("zstd is not supported; gzip, bzip2 and xz are")
    return raw


class _Xz:
    """Like `lzma.LZMAFile`, but with a limit of memory."""

    def __init__(self, raw: _Stream) -> None:
        self._raw = raw
        self._begin()

    def _begin(self) -> None:
        self._decompressor = lzma.LZMADecompressor(memlimit=_DICTIONARY_BYTES)

    def read(self, size: int) -> bytes:
        while True:
            packed = b""
            if self._decompressor.eof:
                packed = self._next_stream()
                if not packed:
                    return b""
                self._begin()
            elif self._decompressor.needs_input:
                packed = self._raw.read(_CHUNK)
                if not packed:
                    raise EOFError
            if chunk := self._decompressor.decompress(packed, size):
                return chunk

    def _next_stream(self) -> bytes:
        """Return the beginning of the stream behind zeros, which pad streams; empty at the end."""
        packed = self._decompressor.unused_data
        while not (start := packed.lstrip(b"\0")):
            packed = self._raw.read(_CHUNK)
            if not packed:
                break
        return start


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        if not any(buf):
            return super().frombuf(buf, encoding, errors)  # the end, which it says by raising
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:  # behind the first file, tarfile would end silently
            raise BadArchive(f"it is no tar, or damaged: {error}") from error
        if header.size < 0 or (header.type in _EXTENDED_HEADERS and header.size > _HEADER_BYTES):
            raise BadArchive(f"a header in it has {header.size} bytes")
        return header


def _tar_entries(stream: _Stream, limit: int, *, omits_special: bool) -> Iterator[ArchiveEntry]:
    consumed = _Budget(limit, allowed=_HEADER_BYTES)
    budget = _Budget(limit)  # a sparse file has more than what is read for it
    bounded = _Content(stream, consumed)
    with reading():
        archive = tarfile.open(  # noqa: SIM115 -- has nothing to close but `stream`
            fileobj=cast("IO[bytes]", bounded),
            mode="r|",
            tarinfo=_Header,
            encoding="utf-8",
            errors="surrogateescape",
        )
    while True:
        consumed.allowed = consumed.used + _HEADER_BYTES
        with reading():
            header = archive.next()
        if header is None:
            break
        vars(archive)["members"].clear()  # it would remember every file
        if len(archive.pax_headers) > _GLOBAL_HEADERS:
            raise BadArchive("it has too many global headers")
        consumed.allowed = limit
        if omits_special and header.type in _SPECIAL:
            continue
        with reading():
            content = archive.extractfile(header) if header.isreg() else None
        yield ArchiveEntry(
            name=header.name,
            kind=_kind_in_tar(header),
            link=header.linkname,
            is_executable=bool(header.mode & 0o111),
            mode=header.mode & 0o777,
            modified=header.mtime,
            content=_Content(content, budget) if content else None,
        )
    consumed.allowed = limit
    while bounded.read(_CHUNK):  # the checksum is at the end
        pass


def _kind_in_tar(header: tarfile.TarInfo) -> EntryKind:
    if header.type not in tarfile.SUPPORTED_TYPES:
        raise BadArchive(f"`{header.name[:99]}` is of an unknown type")
    if header.type not in _KINDS_IN_TAR:
        raise BadArchive(f"`{header.name[:99]}` is a device or a pipe")
    return _KINDS_IN_TAR[header.type]


class _Window(io.FileIO):
    """A file with a limit of bytes per read: the directory of a zip may claim any size."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > _DIRECTORY_BYTES:
            raise BadArchive(f"its directory has more than {_DIRECTORY_BYTES >> 20} MiB")
        return super().read(size)


def _zip_entries(window: _Window, limit: int) -> Iterator[ArchiveEntry]:
    budget = _Budget(limit)
    with reading():
        archive = zipfile.ZipFile(cast("IO[bytes]", window))
    for header in archive.infolist():
        kind = _kind_in_zip(header)
        if kind == "directory":
            yield ArchiveEntry(header.filename, kind)
            continue
        with reading():
            opened = archive.open(header)
        with opened:
            content = _Content(opened, budget)
            target = content.read(_LINK_BYTES) if kind == "link" else b""
            yield ArchiveEntry(
                name=header.filename,
                kind=kind,
                link=target.decode("utf-8", "surrogateescape"),
                is_executable=bool(header.external_attr >> 16 & 0o111),
                modified=_modification_time(header),
                content=content,
            )


def _kind_in_zip(header: zipfile.ZipInfo) -> EntryKind:
    name = f"`{header.filename[:99]}`"
    if "\0" in header.orig_filename:
        raise BadArchive(f"{name} is no name of a file")
    if header.flag_bits & _ENCRYPTED:
        raise BadArchive(f"{name} is encrypted")
    if header.compress_type not in _METHODS:
        raise BadArchive(f"{name} is packed with the method {header.compress_type}, unknown here")
    mode = header.external_attr >> 16 if header.create_system in _UNIX else 0
    if header.is_dir() or stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BadArchive(f"{name} is a device or a pipe")
    return "file"


def _modification_time(header: zipfile.ZipInfo) -> float:
    with suppress(ValueError, OverflowError):
        return calendar.timegm((*header.date_time, 0, 0, 0))
    return 0
