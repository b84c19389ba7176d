"""Blocks of compressed streams, each of which can be decoded on its own. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from functools import cached_property
from itertools import accumulate

from envmatrix.excerpts.reading import LARGEST_READ, Reader, Span, Unsuitable
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """A block: `size` compressed bytes from `offset` in the file on, `length` when decoded."""

    offset: int
    size: int
    length: int

    def __post_init__(self) -> None:
        if max(self.size, self.length) > LARGEST_READ:
            raise Unsuitable(f"a block has {max(self.size, self.length)} bytes")

    @property
    def span(self) -> Span:
        return self.offset, self.size


# Returns the decoded bytes of a block, of which it gets the compressed ones; Unsuitable where they
# are damaged.
Decode = Callable[[Block, bytes], bytes]


@dataclass(frozen=True)
class DecodedBlocks:
    """The decoded bytes of blocks one after the other, of which one block is in memory. `others`
    are the spans of the file beside blocks that whoever reads them needs."""

    reader: Reader
    blocks: Sequence[Block]
    decode: Decode
    others: tuple[Span, ...] = ()
    _memory: dict[Block, bytes] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        return self.starts[-1]

    @cached_property
    def starts(self) -> Sequence[int]:
        """The offsets of the blocks in the decoded bytes, and the end of the last one."""
        return [*accumulate((block.length for block in self.blocks), initial=0)]

    def read(self, offset: int, size: int) -> bytes:
        pieces = bytearray()
        for number in self._numbers((offset, size)):
            start, content = self.starts[number], self._content(self.blocks[number])
            pieces += content[max(offset - start, 0) : offset + size - start]
        if len(pieces) != size:
            raise Unsuitable(f"bytes {offset} to {offset + size} are in no block")
        return bytes(pieces)

    def blocks_of(self, spans: Iterable[Span]) -> Iterator[Block]:
        """Yield the blocks with the decoded bytes at `spans`."""
        numbers = {number for span in spans for number in self._numbers(span)}
        return (self.blocks[number] for number in sorted(numbers))

    def _numbers(self, span: Span) -> range:
        """Return the numbers of the blocks with decoded bytes."""
        offset, size = span
        if size == 0:
            return range(0)
        first, last = (bisect_right(self.starts, place) - 1 for place in (offset, sum(span) - 1))
        return range(max(first, 0), min(last + 1, len(self.blocks)))

    def _content(self, block: Block) -> bytes:
        if block not in self._memory:
            self._memory.clear()
            content = self.decode(block, self.reader.read(*block.span))
            if len(content) != block.length:
                raise Unsuitable(f"a block has {len(content)} bytes instead of {block.length}")
            self._memory[block] = content
        return self._memory[block]
