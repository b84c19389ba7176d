from __future__ import annotations

import struct

import pytest
from tests.archives import noise, number, xz_end, xz_of, zstd_of

from envmatrix.excerpts import xz, zstd
from envmatrix.excerpts.blocks import DecodedBlocks
from envmatrix.excerpts.reading import BytesReader, Unsuitable

BLOCKS = (b"first", noise(1000), b"", b"last" * 9)
TEXT = b"".join(BLOCKS)
STREAM = xz_of([block for block in BLOCKS if block])


def blocks_of(stream: bytes) -> DecodedBlocks:
    return xz.read_blocks(BytesReader(stream), (0, len(stream)), [(0, len(stream))])


def frames_of(stream: bytes) -> DecodedBlocks:
    return zstd.read_blocks(BytesReader(stream), (0, len(stream)), [(0, len(stream))])


@pytest.mark.parametrize("blocks", [blocks_of(STREAM), frames_of(zstd_of(BLOCKS))])
def test_any_bytes_are_read_of_the_blocks_that_have_them(blocks: DecodedBlocks) -> None:
    assert blocks.size == len(TEXT)
    for offset in range(0, len(TEXT), 7):
        for size in (0, 1, 40, len(TEXT) - offset):
            end = min(offset + size, len(TEXT))
            assert blocks.read(offset, end - offset) == TEXT[offset:end]
    with pytest.raises(Unsuitable):
        blocks.read(len(TEXT), 1)


def test_a_skippable_frame_has_no_bytes() -> None:
    skippable = struct.pack("<II", 0x184D2A5E, 3) + b"xyz"
    stream = skippable + zstd_of([b"a"]) + skippable + zstd_of([b"b"]) + skippable
    assert frames_of(stream).read(0, 2) == b"ab"


@pytest.mark.parametrize("read", [blocks_of, frames_of])
def test_a_damaged_stream_is_unsuitable_or_the_same(read: type) -> None:
    stream = STREAM if read is blocks_of else zstd_of(BLOCKS)
    for position in range(len(stream)):
        damaged = bytearray(stream)
        damaged[position] ^= 0x55
        try:
            blocks = read(bytes(damaged))
            content = blocks.read(0, blocks.size)
        except Unsuitable:
            continue
        # Frames of these have no checksum, so that the sha256 of ranges is what protects them.
        assert read is frames_of or content == TEXT


@pytest.mark.parametrize("read", [blocks_of, frames_of])
def test_a_cut_stream_is_unsuitable(read: type) -> None:
    stream = STREAM if read is blocks_of else zstd_of(BLOCKS)
    for end in range(1, len(stream) - 1):
        try:
            blocks = read(stream[:end])
        except Unsuitable:
            continue
        assert blocks.size < len(TEXT)


def of_index(records: bytes) -> bytes:
    """Return the stream with another index."""
    end = len(STREAM) - 12
    index_size = (struct.unpack("<I", STREAM[-8:-4])[0] + 1) * 4
    return STREAM[: end - index_size] + xz_end(STREAM, records)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(number(3), id="fewer records than it says"),
        pytest.param(number(1 << 60), id="more blocks than there is room for"),
        pytest.param(number(1) + number(1 << 60) + number(5), id="a block as large as the world"),
        pytest.param(number(1) + number(64) + number(1 << 60), id="a bomb"),
        pytest.param(b"\xff" * 12, id="an endless number"),
    ],
)
def test_an_index_that_lies_is_unsuitable(records: bytes) -> None:
    with pytest.raises(Unsuitable):
        blocks_of(of_index(records)).read(0, 1)


def test_a_block_that_is_longer_than_the_index_says_is_unsuitable() -> None:
    (stream,) = (xz_of([bytes(1 << 24)]),)
    end = len(stream) - 12
    index_size = (struct.unpack("<I", stream[-8:-4])[0] + 1) * 4
    size = end - index_size - 12
    small = stream[: end - index_size] + xz_end(stream, number(1) + number(size) + number(10))
    with pytest.raises(Unsuitable):
        blocks_of(small).read(0, 1)


def test_a_frame_without_its_length_is_unsuitable() -> None:
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 0x58) + b"\x01\x00\x00"
    with pytest.raises(Unsuitable, match="length"):
        frames_of(frame)


def test_a_frame_that_is_longer_than_it_says_is_unsuitable() -> None:
    (frame,) = (bytearray(zstd_of([bytes(200)])),)
    assert frame[5] == 200
    frame[5] = 10
    with pytest.raises(Unsuitable):
        frames_of(bytes(frame)).read(0, 10)
