"""Results and logs of tasks, which come from a machine that runs the code of others."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import EngineError, LookupFailed
from envmatrix.executors.results import (
    MOST_IN_A_LINE,
    Piece,
    StoredResult,
    lines_of,
    read_pieces,
    read_result,
)
from envmatrix.registry.manifests import Manifest

DIGEST = f"sha256:{'0' * 64}"
RESULT = StoredResult(
    status=3, stopped=None, out_of_memory=False, outputs=(DIGEST,), log=DIGEST, printed=12
)
DOCUMENT: dict[str, Any] = {
    "status": 3,
    "stopped": None,
    "out_of_memory": False,
    "outputs": [DIGEST],
    "log": DIGEST,
    "printed": 12,
}


def stored(content: bytes) -> Manifest:
    return Manifest("application/json", content)


def test_a_result_is_read() -> None:
    assert read_result(stored(json.dumps(DOCUMENT).encode())) == RESULT
    timed_out = {**DOCUMENT, "stopped": "timeout"}
    assert read_result(stored(json.dumps(timed_out).encode())) == replace(RESULT, stopped="timeout")


@pytest.mark.parametrize(
    "part",
    [
        {"status": -1},
        {"status": 256},
        {"status": True},
        {"status": "0"},
        {"stopped": "cancelled"},
        {"stopped": []},
        {"out_of_memory": 1},
        {"outputs": ["sha256:../x"]},
        {"outputs": None},
        {"log": f"{DIGEST}\n"},
        {"log": None},
        {"printed": 1.5},
    ],
    ids=str,
)
def test_what_is_no_result_is_refused(part: dict[str, object]) -> None:
    with pytest.raises(LookupFailed):
        read_result(stored(json.dumps({**DOCUMENT, **part}).encode()))


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr))
def test_no_document_does_anything_but_fail(content: bytes | str) -> None:
    data = content.encode() if isinstance(content, str) else content
    with pytest.raises(LookupFailed):
        read_result(stored(data))


def line(stream: int, offset: int, content: bytes) -> bytes:
    return b"%d %d %s" % (stream, offset, base64.b64encode(content))


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(min_size=1))), st.integers(1, 50))
def test_output_of_any_bytes_is_read_from_chunks_of_any_size(
    output: list[tuple[int, bytes]], size: int
) -> None:
    offset, lines, pieces = 0, [], []
    for stream, content in output:
        lines.append(line(stream, offset, content) + b"\n")
        pieces.append(Piece(stream, offset, content))
        offset += len(content)
    log = b"\n".join(lines)  # with an empty line between each, as heartbeats are
    chunks = [log[start : start + size] for start in range(0, len(log), size)]
    assert [*read_pieces(lines_of(chunks))] == pieces


@pytest.mark.parametrize(
    "text", [b"2 0 YQ==", b"0 -1 YQ==", b"0 0 a", b"0 0 ===", b"0 0", b"Traceback", b"0 0 YQ== x"]
)
def test_an_unexpected_line_is_an_error(text: bytes) -> None:
    with pytest.raises(EngineError, match="unexpected line"):
        [*read_pieces([text])]


@given(st.binary())
def test_no_line_does_anything_but_fail(text: bytes) -> None:
    try:
        pieces = [*read_pieces([text])]
    except EngineError:
        return
    assert len(pieces) <= 1


def test_a_line_without_end_is_an_error() -> None:
    with pytest.raises(EngineError, match="too long"):
        [*lines_of([b"x" * 1024] * (MOST_IN_A_LINE // 1024 + 1))]


def test_an_incomplete_line_is_left_out() -> None:
    assert [*lines_of([b"a\nb", b"c\nd"])] == [b"a", b"bc"]
