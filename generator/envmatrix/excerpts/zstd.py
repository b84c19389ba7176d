"""Streams of zstd with several frames. Pure.

https://www.rfc-editor.org/rfc/rfc8878
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence

from envmatrix.excerpts.blocks import Block, DecodedBlocks
from envmatrix.excerpts.reading import LARGEST_READ, Reader, Span, Unsuitable

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

_MAGIC = b"\x28\xb5\x2f\xfd"
# Frames without data, such as a table of frames.
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_LARGEST_HEADER = 18
_DICTIONARY_SIZES, _LENGTH_SIZES = (0, 1, 2, 4), (0, 2, 4, 8)
_RLE_BLOCK = 1


def read_blocks(reader: Reader, area: Span, spans: Sequence[Span]) -> DecodedBlocks:
    """Return the frames of the stream at `area` that are in `spans` of the file. A span that begins
    in the stream begins with a frame."""
    frames: list[Block] = []
    for offset, size in spans:
        start, end = max(offset, area[0]), min(offset + size, sum(area))
        frames += _frames(reader, start, end)
    return DecodedBlocks(reader, frames, _decoded)


def _frames(reader: Reader, position: int, end: int) -> Iterator[Block]:
    while position < end:
        header = reader.read(position, min(_LARGEST_HEADER, end - position))
        if int.from_bytes(header[:4], "little") in _SKIPPABLE and len(header) >= 8:
            position += 8 + int(struct.unpack("<I", header[4:8])[0])
            continue
        start, length = position, _length(header)
        position = _end_of_frame(reader, start, header, end)
        yield Block(start, position - start, length)
    if position > end:
        raise Unsuitable("the last frame of zstd is cut")


def _layout(header: bytes) -> tuple[bool, int, int]:
    """Return whether a frame has a checksum, and the offset and the size of its length."""
    if header[:4] != _MAGIC or len(header) < 6:
        raise Unsuitable("it is not a sequence of zstd frames")
    descriptor = header[4]
    is_single = bool(descriptor & 0x20)
    size = _LENGTH_SIZES[descriptor >> 6] or int(is_single)
    offset = 5 + (not is_single) + _DICTIONARY_SIZES[descriptor & 3]
    return bool(descriptor & 4), offset, size


def _length(header: bytes) -> int:
    """Return the length of a frame when decoded."""
    _, offset, size = _layout(header)
    if size == 0 or len(header) < offset + size:
        raise Unsuitable("a frame of zstd does not say its length")
    length = int.from_bytes(header[offset : offset + size], "little") + 256 * (size == 2)
    if length > LARGEST_READ:
        raise Unsuitable(f"a frame of zstd has {length} bytes")
    return length


def _end_of_frame(reader: Reader, start: int, header: bytes, end: int) -> int:
    has_checksum, offset, size = _layout(header)
    position, is_last = start + offset + size, False
    while not is_last:
        if position + 3 > end:
            raise Unsuitable("a frame of zstd is cut")
        number = int.from_bytes(reader.read(position, 3), "little")
        is_last, kind = bool(number & 1), number >> 1 & 3
        position += 3 + (1 if kind == _RLE_BLOCK else number >> 3)
    return position + 4 * has_checksum


def _decoded(block: Block, frame: bytes) -> bytes:
    decoder = ZstdDecompressor()  # of windows up to 128 MiB
    try:
        content = decoder.decompress(frame, block.length)
        rest = b"" if decoder.eof else decoder.decompress(b"", 1)
    except (ZstdError, EOFError) as error:
        raise Unsuitable(f"a frame of zstd is damaged: {error}") from error
    if rest or not decoder.eof:
        raise Unsuitable("a frame of zstd has another size than it says")
    return content
