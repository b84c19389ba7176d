"""Which files of the lock have excerpts, and how an excerpt is made of ranges. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from envmatrix.excerpts import debs, zips
from envmatrix.excerpts.blocks import DecodedBlocks
from envmatrix.excerpts.reading import BytesReader, RangesReader, Reader, Span, Unsuitable, joined
from envmatrix.lock.model import Artifact, Excerpt, Range

# An excerpt needs less than one byte of so many, and saves that many bytes.
_LEAST_RATIO = 4
LEAST_SAVED = 8_000_000
_KINDS = (".deb", ".whl", ".zip")
# A request costs more than as many bytes between two ranges.
_LARGEST_GAP = 1 << 18


def is_large(artifact: Artifact) -> bool:
    """Return whether a file is large enough for an excerpt to be worth it."""
    return artifact.size > LEAST_SAVED


def is_promising(
    artifact: Artifact, reader: Reader, patterns: Sequence[str], least_saved: int = LEAST_SAVED
) -> bool:
    """Return whether an excerpt may be worth it, by the directory or the index of a file alone;
    Unsuitable where none can be made."""
    if not artifact.filename.endswith(_KINDS):
        raise Unsuitable(f"excerpts are made of {', '.join(_KINDS)} files only")
    if not artifact.filename.endswith(".deb"):
        return _is_worth_it(artifact, zips.compressed_size(reader, patterns), least_saved)
    count = len(debs.read_package(reader, [(0, reader.size)]).files.blocks)
    if count < _LEAST_RATIO:
        raise Unsuitable(f"its files are compressed in {count} block{'s' * (count != 1)}")
    return True


def _is_worth_it(artifact: Artifact, size: int, least_saved: int) -> bool:
    return size * _LEAST_RATIO < artifact.size and artifact.size - size >= least_saved


def plan_excerpt(
    artifact: Artifact, reader: Reader, patterns: Sequence[str], least_saved: int = LEAST_SAVED
) -> Excerpt | None:
    """Return the excerpt of a whole file with the members that patterns select; None where it saves
    too little, Unsuitable where it cannot be made."""
    if not is_promising(artifact, reader, patterns, least_saved):
        return None
    spans, cuts = _plan(artifact, reader, patterns)
    if not _is_worth_it(artifact, sum(size for _, size in spans), least_saved):
        return None
    contents = {offset: reader.read(offset, size) for offset, size in spans}
    ranges = tuple(_range(offset, content) for offset, content in contents.items())
    excerpt = Excerpt(artifact, tuple(patterns), 0, "", ranges, cuts)
    rows = [(offset, BytesReader(content)) for offset, content in contents.items()]
    content = compose(excerpt, RangesReader(artifact.size, rows))
    return replace(excerpt, size=len(content), sha256=_sha256(content))


def compose(excerpt: Excerpt, reader: Reader) -> bytes:
    """Return the archive that an excerpt is, from a reader of its ranges or of the whole file."""
    if not excerpt.filename.endswith(".deb"):
        return zips.compose(reader, excerpt.patterns)
    package = debs.read_package(reader, [part.span for part in excerpt.ranges])
    return debs.compose(package, reader, excerpt.spans)


def _plan(
    artifact: Artifact, reader: Reader, patterns: Sequence[str]
) -> tuple[Sequence[Span], tuple[Span, ...]]:
    """Return the spans of the file that members need, and those of the members in what the blocks
    there are decoded to."""
    if not artifact.filename.endswith(".deb"):
        return joined(zips.required_spans(reader, patterns), _LARGEST_GAP), ()
    package = debs.read_package(reader, [(0, artifact.size)])
    members = debs.member_spans(package.files, patterns)
    blocks = [block.span for block in package.files.blocks_of(members)]
    spans = joined([(0, package.start), *package.files.others, *blocks], _LARGEST_GAP)
    files = debs.read_package(reader, spans).files
    return spans, tuple(_moved(span, package.files, files) for span in members)


def _moved(span: Span, files: DecodedBlocks, fewer: DecodedBlocks) -> Span:
    """Return the span of decoded bytes where there are fewer blocks."""
    block = next(files.blocks_of([span]))
    start, new_start = (row.starts[[*row.blocks].index(block)] for row in (files, fewer))
    return span[0] - start + new_start, span[1]


def _range(offset: int, content: bytes) -> Range:
    return Range(offset, len(content), _sha256(content))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
