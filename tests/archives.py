"""Archives with what programs that pack them would not write."""

from __future__ import annotations

import hashlib
import io
import lzma
import struct
import sys
import tarfile
import zipfile
from binascii import crc32
from collections.abc import Iterator, Sequence
from random import Random

from envmatrix.lock.model import Artifact

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Entry(tarfile.TarInfo):
    """A member of a tar with its content, if it is a file."""

    content = b"x"


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> Entry:
    member = Entry(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def link(name: str, target: str) -> Entry:
    return entry(name, tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> Entry:
    return entry(name, tarfile.LNKTYPE, linkname=target)


def tar(*entries: Entry, mode: str = "w", **options: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, **options) as archive:  # type: ignore[call-overload]
        for one in entries:
            if one.isreg():
                one.size = len(one.content)
            archive.addfile(one, io.BytesIO(one.content))
    return stream.getvalue()


def zipped(*entries: tuple[str, bytes, int], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of these names, contents and modes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content, mode in entries:
            member = zipfile.ZipInfo(name)
            member.external_attr, member.compress_type = mode << 16, method
            archive.writestr(member, content)
    return stream.getvalue()


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that no compressor makes smaller."""
    return Random(seed).randbytes(size)  # noqa: S311 -- no secret


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def xz_of(blocks: Sequence[bytes]) -> bytes:
    """Return a stream of xz with these blocks, as `xz --block-size` makes it."""
    streams = [lzma.compress(block, preset=0) for block in blocks]
    sizes = [(struct.unpack("<I", stream[-8:-4])[0] + 1) * 4 for stream in streams]
    indexes = [stream[-12 - size : -12] for stream, size in zip(streams, sizes, strict=True)]
    bodies = [stream[12 : -12 - size] for stream, size in zip(streams, sizes, strict=True)]
    records = b"".join(
        index[2 : _end_of_number(index, _end_of_number(index, 2))] for index in indexes
    )
    return b"".join((streams[0][:12], *bodies, xz_end(streams[0], number(len(blocks)) + records)))


def zstd_of(frames: Sequence[bytes]) -> bytes:
    """Return a stream of zstd with these frames, as pzstd makes it."""
    return b"".join(map(zstd.compress, frames))


def xz_end(stream: bytes, records: bytes) -> bytes:
    """Return the index and the footer of a stream, with these records."""
    index = b"\0" + records
    index = index.ljust(len(index) + -len(index) % 4, b"\0")
    index += struct.pack("<I", crc32(index))
    ends = struct.pack("<I", len(index) // 4 - 1) + stream[6:8]
    return index + struct.pack("<I", crc32(ends)) + ends + b"YZ"


def number(value: int) -> bytes:
    """Return a number of an index of xz."""
    rest = []
    while value >= 0x80:
        rest.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*rest, value])


def _end_of_number(content: bytes, position: int) -> int:
    while content[position] & 0x80:
        position += 1
    return position + 1


def ar(**members: bytes) -> bytes:
    """Return an archive of ar, as Debian's packages are; `_` in names stands for dots."""
    content = b"!<arch>\n"
    for name, member in members.items():
        head = f"{name.replace('_', '.'):16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(member):<10}`\n"
        content += head.encode() + member + b"\n" * (len(member) % 2)
    return content


def package(content: bytes, name: str) -> Artifact:
    """Return a file as the lock has it."""
    sha256 = hashlib.sha256(content).hexdigest()
    return Artifact("debian", f"pool/{name}", name.partition("_")[0], "1", len(content), sha256)
