"""Excerpts in the store: ranges cut from a whole file, and the archive made of ranges."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from envmatrix.excerpts.planning import compose
from envmatrix.excerpts.reading import RangesReader, Unsuitable
from envmatrix.files import naming
from envmatrix.lock.model import Artifact, Excerpt, StageFile
from envmatrix.parallel import INTERRUPTION
from envmatrix.records import dataclass
from envmatrix.store.artifacts import Content, Store


@dataclass(frozen=True, slots=True)
class FileReader:
    """An open file; reading it ends at an interruption, as decompressing the rest takes seconds."""

    descriptor: int
    size: int

    def read(self, offset: int, size: int) -> bytes:
        if INTERRUPTION.is_set:
            raise KeyboardInterrupt
        content = os.pread(self.descriptor, size, offset)
        if len(content) != size:
            raise Unsuitable(f"it ends before byte {offset + size}")
        return content


@contextmanager
def open_reader(file: Path) -> Iterator[FileReader]:
    with file.open("rb") as handle:
        yield FileReader(handle.fileno(), os.fstat(handle.fileno()).st_size)


def is_complete(store: Store, excerpt: Excerpt) -> bool:
    """Return whether the store has an excerpt and its ranges, all verified."""
    return store.verified(excerpt) and all(map(store.verified, excerpt.ranges))


def missing_size(store: Store, file: StageFile) -> int:
    """Return how many bytes of a file the store lacks: none of an excerpt whose whole file it has,
    as a damaged file is not noticed here."""
    if isinstance(file, Artifact):
        return 0 if store.has(file) else file.size
    if store.has(file.artifact):
        return 0
    return sum(part.size for part in file.ranges if not store.has(part))


def cut_ranges(store: Store, excerpt: Excerpt) -> bool:
    """Copy the ranges of an excerpt from the whole file in the store; return whether the file has
    them all."""
    with open_reader(store.path(excerpt.artifact)) as reader:
        for part in excerpt.ranges:
            content = reader.read(part.offset, part.size)
            if not _keep(store, part, content):
                return False
    return True


def make_excerpt(store: Store, excerpt: Excerpt) -> bool:
    """Make an excerpt of its ranges in the store; return whether it is the one of the lock."""
    with ExitStack() as stack:
        files = ((part.offset, store.path(part)) for part in excerpt.ranges)
        rows = [(offset, stack.enter_context(open_reader(file))) for offset, file in files]
        try:
            content = compose(excerpt, RangesReader(excerpt.artifact.size, rows))
        except Unsuitable:
            return False
    return _keep(store, excerpt, content)


def _keep(store: Store, expected: Content, content: bytes) -> bool:
    """Store bytes if they are the expected ones, and return that."""
    if hashlib.sha256(content).hexdigest() != expected.sha256 or len(content) != expected.size:
        return False
    with store.incoming(expected) as partial:
        if not store.holds(expected):
            with naming(partial):
                partial.write_bytes(content)
            store.keep(expected, partial)
    return True
