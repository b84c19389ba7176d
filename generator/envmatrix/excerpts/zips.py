"""Zips, as wheels are: members with a directory at the end. Pure.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

from envmatrix.excerpts.reading import LARGEST_READ, Reader, ReaderFile, Span, Unsuitable
from envmatrix.excerpts.selection import is_selected

_HEADER = 30


@contextmanager
def _opened(reader: Reader) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(cast("IO[bytes]", ReaderFile(reader))) as archive:
            yield archive
    # An encrypted member is a RuntimeError, an unknown compression a NotImplementedError.
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        RuntimeError,
        ValueError,
        EOFError,
    ) as error:
        raise Unsuitable(f"the zip is damaged: {error}") from error


def _selected(archive: zipfile.ZipFile, patterns: Sequence[str]) -> list[zipfile.ZipInfo]:
    infos = [info for info in archive.infolist() if is_selected(info.filename, patterns)]
    if not infos:
        raise Unsuitable("no member is selected")
    return infos


def _selected_in_memory(archive: zipfile.ZipFile, patterns: Sequence[str]) -> list[zipfile.ZipInfo]:
    infos = _selected(archive, patterns)
    if sum(info.file_size for info in infos) > LARGEST_READ:
        raise Unsuitable("the members that images use are too large")
    return infos


def compressed_size(reader: Reader, patterns: Sequence[str]) -> int:
    """Return the compressed bytes of the members that patterns select."""
    with _opened(reader) as archive:
        return sum(info.compress_size for info in _selected(archive, patterns))


def required_spans(reader: Reader, patterns: Sequence[str]) -> Iterator[Span]:
    """Yield the spans of the members that patterns select, and that of the directory."""
    with _opened(reader) as archive:
        for info in _selected_in_memory(archive, patterns):
            header = reader.read(info.header_offset, _HEADER)
            sizes = sum(struct.unpack("<HH", header[26:30]))
            yield info.header_offset, _HEADER + sizes + info.compress_size
        yield archive.start_dir, reader.size - archive.start_dir


def compose(reader: Reader, patterns: Sequence[str]) -> bytes:
    """Return a zip of the members that patterns select, uncompressed."""
    content = io.BytesIO()
    with _opened(reader) as archive, zipfile.ZipFile(content, "w") as excerpt:
        for info in _selected_in_memory(archive, patterns):
            member = zipfile.ZipInfo(info.filename, info.date_time)
            member.external_attr, member.create_system = info.external_attr, info.create_system
            excerpt.writestr(member, archive.read(info))
    return content.getvalue()
