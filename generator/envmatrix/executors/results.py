"""The result of a task as its pod stores it: a manifest in a registry, and the log. Pure.

Both come from a machine that runs the code of others: nothing in them is trusted.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from envmatrix.engine.tasks import Stop
from envmatrix.errors import EngineError
from envmatrix.records import dataclass
from envmatrix.registry.manifests import Manifest

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LINE = re.compile(rb"([01]) (\d{1,15}) ([A-Za-z0-9+/]+={0,2})\n?")
# The limit of a line, in bytes, which is longer than those of the agent.
MOST_IN_A_LINE = 64 << 10


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The result of a task: digests of its outputs, in the order of its areas, and of its log;
    `printed` are the bytes of its output."""

    status: int
    stopped: Stop | None
    out_of_memory: bool
    outputs: tuple[str, ...]
    log: str
    printed: int


def read_result(manifest: Manifest) -> StoredResult:
    """Read the configuration of a manifest; LookupFailed where it is none of a result."""
    return manifest.read(_result)


def _result(document: Any) -> StoredResult:
    stopped = document["stopped"]
    result = StoredResult(
        status=document["status"],
        stopped=stopped,
        out_of_memory=document["out_of_memory"],
        outputs=tuple(document["outputs"]),
        log=document["log"],
        printed=document["printed"],
    )
    numbers = (result.status, result.printed)
    are_numbers = all(type(number) is int and number >= 0 for number in numbers)
    are_digests = all(_DIGEST.fullmatch(digest) for digest in (*result.outputs, result.log))
    is_known = stopped is None or stopped in get_args(Stop)
    if not (are_numbers and are_digests and is_known and result.status < 256):
        raise ValueError("no result of a task")
    if type(result.out_of_memory) is not bool:
        raise ValueError("no result of a task")
    return result


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of output: its stream, its offset in the output of both streams, and its bytes."""

    stream: int
    offset: int
    content: bytes


def read_pieces(lines: Iterable[bytes]) -> Iterator[Piece]:
    """Yield the pieces of output of a log; EngineError where a line is none. Empty lines only keep
    a connection alive."""
    for line in lines:
        if line.strip():
            yield _piece(line)


def _piece(line: bytes) -> Piece:
    match = _LINE.fullmatch(line)
    try:
        if match:
            return Piece(int(match[1]), int(match[2]), binascii.a2b_base64(match[3]))
    except binascii.Error:
        pass
    raise EngineError(f"the log of the task has an unexpected line: {line[:99]!r}")


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the complete lines of a stream; EngineError for one that is too long."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MOST_IN_A_LINE:
            raise EngineError("the log of the task has a line that is too long")
