"""Streams of xz, whose index has the sizes of all blocks. Pure.

https://tukaani.org/xz/xz-file-format.txt
"""

from __future__ import annotations

import lzma
import struct
from binascii import crc32
from collections.abc import Iterator, Sequence

from envmatrix.excerpts.blocks import Block, DecodedBlocks
from envmatrix.excerpts.reading import Reader, Span, Unsuitable, covers

MAGIC = b"\xfd7zXZ\0"

_END = b"YZ"
# Of the header, and of the footer.
_EDGE = 12
_LARGEST_INDEX = 1 << 24
_LONGEST_NUMBER = 9
# The most memory of a decoder, in bytes: presets of xz need up to 65 MiB.
_MEMORY = 1 << 27


def read_blocks(reader: Reader, area: Span, spans: Sequence[Span]) -> DecodedBlocks:
    """Return the blocks of the stream at `area` that are in `spans` of the file."""
    offset, end = area[0], sum(area)
    if area[1] < 2 * _EDGE:
        raise Unsuitable("the xz stream is cut")
    header, footer = reader.read(offset, _EDGE), reader.read(end - _EDGE, _EDGE)
    flags, index_size = header[6:8], (struct.unpack("<I", footer[4:8])[0] + 1) * 4
    if header[:6] != MAGIC or footer[8:] != flags + _END:
        raise Unsuitable("it is not one xz stream")
    if index_size > min(_LARGEST_INDEX, area[1] - 2 * _EDGE):
        raise Unsuitable("the index of the xz stream is too large")
    index = end - _EDGE - index_size, index_size
    unpadded, position = {}, offset + _EDGE
    for size, length in _records(reader.read(*index)):
        unpadded[Block(position, _padded(size), length)] = size
        position += _padded(size)
    if position != index[0]:
        raise Unsuitable("the index of the xz stream is wrong")

    def decode(block: Block, content: bytes) -> bytes:
        return _decoded(_stream_of_one(header, content, unpadded[block], block.length), block)

    present = [block for block in unpadded if covers(spans, block.span)]
    others = ((offset, _EDGE), (index[0], end - index[0]))
    return DecodedBlocks(reader, present, decode, others)


def _records(index: bytes) -> Iterator[tuple[int, int]]:
    """Yield the size of each block without padding, and its length when decoded."""
    content, checksum = index[:-4], index[-4:]
    if content[:1] != b"\0" or struct.pack("<I", crc32(content)) != checksum:
        raise Unsuitable("the index of the xz stream is damaged")
    count, position = _number(content, 1)
    if count > len(content) // 2:
        raise Unsuitable("the index of the xz stream is cut")
    for _ in range(count):
        size, position = _number(content, position)
        length, position = _number(content, position)
        yield size, length


def _number(content: bytes, position: int) -> tuple[int, int]:
    """Return the number of 7 bits in a byte at a position, and the position after it."""
    value = 0
    for place, byte in enumerate(content[position : position + _LONGEST_NUMBER]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, position + place + 1
    raise Unsuitable("the index of the xz stream is cut")


def _encoded(number: int) -> bytes:
    rest = bytearray()
    while number >= 0x80:
        rest.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*rest, number])


def _padded(size: int) -> int:
    return size + -size % 4


def _stream_of_one(header: bytes, block: bytes, size: int, length: int) -> bytes:
    """Return a stream with a block alone; `size` is that of the block without padding."""
    records = b"\0\1" + _encoded(size) + _encoded(length)
    index = records.ljust(_padded(len(records)), b"\0")
    index += struct.pack("<I", crc32(index))
    ends = struct.pack("<I", len(index) // 4 - 1) + header[6:8]
    return b"".join((header, block, index, struct.pack("<I", crc32(ends)), ends, _END))


def _decoded(stream: bytes, block: Block) -> bytes:
    """Decode the stream of a block; its decoder verifies checksums and sizes."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    try:
        content = decoder.decompress(stream, block.length)
        rest = b"" if decoder.eof else decoder.decompress(b"", 1)
    except (lzma.LZMAError, EOFError) as error:
        raise Unsuitable(f"a block of xz is damaged: {error}") from error
    if rest or not decoder.eof:
        raise Unsuitable("a block of xz has another size than its index says")
    return content
