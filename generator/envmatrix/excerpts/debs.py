"""Debian packages: an archive of ar, whose last member is a tar of the files. Pure.

deb(5)
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from typing import IO, cast

from envmatrix.excerpts import xz
from envmatrix.excerpts.blocks import DecodedBlocks
from envmatrix.excerpts.reading import (
    LARGEST_READ,
    Reader,
    ReaderFile,
    Span,
    Unsuitable,
    joined,
)
from envmatrix.excerpts.selection import is_selected
from envmatrix.lock.model import LARGEST_TAR
from envmatrix.records import dataclass

_MAGIC, _HEADER = b"!<arch>\n", 60
# debian-binary, the control files, the files, and others whose names begin with `_`.
_MOST_MEMBERS = 8
_ZEROS = bytes(1024)


@dataclass(frozen=True, slots=True)
class Package:
    """A package, of which `files` can be read. They begin at `start`, after their header."""

    start: int
    files: DecodedBlocks


def read_package(reader: Reader, spans: Sequence[Span]) -> Package:
    """Return the package of which `spans` can be read."""
    if reader.read(0, len(_MAGIC)) != _MAGIC:
        raise Unsuitable("it is no Debian package")
    position = len(_MAGIC)
    for _ in range(_MOST_MEMBERS):
        name, size = _member(reader.read(position, _HEADER))
        if name.startswith("data.tar"):
            area = position + _HEADER, size
            if sum(area) > reader.size:
                raise Unsuitable("the package is cut")
            return Package(position + _HEADER, _files(name, reader, area, spans))
        position += _HEADER + size + size % 2
    raise Unsuitable("the package has no files")


def _member(header: bytes) -> tuple[str, int]:
    name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
    if header[58:] != b"`\n" or not size.isdigit():
        raise Unsuitable("the package is damaged")
    return name, int(size)


def _files(name: str, reader: Reader, area: Span, spans: Sequence[Span]) -> DecodedBlocks:
    if name.endswith(".xz"):
        return xz.read_blocks(reader, area, spans)
    if name.endswith(".zst"):
        from envmatrix.excerpts import zstd  # its library is loaded for such a file alone

        return zstd.read_blocks(reader, area, spans)
    raise Unsuitable(f"its `{name}` is in one piece")


def member_spans(files: DecodedBlocks, patterns: Sequence[str]) -> tuple[Span, ...]:
    """Return the spans of the members that patterns select, with their headers, in the tar."""
    if files.size > LARGEST_TAR:
        raise Unsuitable(f"its tar has {files.size} bytes")
    spans = joined(span for name, span in _members(files) if is_selected(name, patterns))
    if not spans:
        raise Unsuitable("no member is selected")
    return spans


def _members(files: DecodedBlocks) -> Iterator[tuple[str, Span]]:
    """Yield the name and the span of each member; blocks within large ones are not decoded."""
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", ReaderFile(files)), mode="r:") as archive:
            while (member := archive.next()) is not None:
                yield (
                    member.name.removeprefix("./"),
                    (member.offset, archive.offset - member.offset),
                )
            if archive.pax_headers:
                raise Unsuitable("its files have headers in common")
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise Unsuitable(f"its tar is damaged: {error}") from error


def compose(package: Package, reader: Reader, spans: Sequence[Span]) -> bytes:
    """Return a package with only the decoded bytes of the files at `spans`, uncompressed."""
    if sum(size for _, size in spans) > LARGEST_READ:
        raise Unsuitable("the members that images use are too large")
    tar = b"".join(package.files.read(*span) for span in spans) + _ZEROS
    header = f"{'data.tar':16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(tar):<10}`\n".encode()
    return reader.read(0, package.start - _HEADER) + header + tar
