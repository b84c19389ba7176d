"""Requests of containers, which may be anything."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.shared_cache.protocol import (
    Malformed,
    Request,
    entry_name,
    read_request,
    read_value,
    skip_value,
    value_reply,
)


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(word), word) for word in words
    )


def requests_in(content: bytes) -> list[Request]:
    """Return all requests of a stream, without the values of SET."""
    stream, requests = io.BytesIO(content), []
    while request := read_request(stream):
        requests.append(request)
        if request.value_size is not None:
            skip_value(stream, request.value_size)
    return requests


def test_requests_follow_each_other() -> None:
    content = encoded(b"ping") + encoded(b"SET", b"key", b"value") + encoded(b"GET", b"key")
    assert requests_in(content) == [
        Request("PING"),
        Request("SET", (b"key",), 5),
        Request("GET", (b"key",)),
    ]


@given(st.binary(max_size=100), st.binary(max_size=200_000))
def test_every_key_and_value_arrives(key: bytes, value: bytes) -> None:
    stream = io.BytesIO(encoded(b"set", key, value) + encoded(b"PING"))
    assert read_request(stream) == Request("SET", (key,), len(value))
    assert read_value(stream, len(value)) == value
    assert read_request(stream) == Request("PING")
    assert read_request(stream) is None


@pytest.mark.parametrize(
    "content",
    [
        b"PING\r\n",
        b"*1\n$4\nPING\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*+1\r\n$4\r\nPING\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*9\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$4\r\nPIN",
        b"*1\r\n$4\r\nPINGS\r\n",
        b"*2\r\n$3\r\nGET\r\n$513\r\n" + b"k" * 513 + b"\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nv\r\n",
        b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nNX\r\n",
        b"*\xd9\xa1\r\n",  # a digit of another script
    ],
)
def test_what_is_no_request_is_refused(content: bytes) -> None:
    with pytest.raises(Malformed):
        requests_in(content)


@given(
    st.lists(
        st.sampled_from(
            [b"*1\r\n", b"*3\r\n", b"$3\r\n", b"SET\r\n", b"$0\r\n", b"\r\n", b"$", b"k"]
        )
        | st.binary(max_size=8)
    ).map(b"".join)
)
def test_anything_is_requests_or_refused(content: bytes) -> None:
    try:
        requests = requests_in(content)
    except Malformed:
        return
    assert all(len(word) <= 512 for request in requests for word in request.words)


@given(st.text("0123456789abcdef", min_size=24, max_size=24), st.binary(max_size=512))
def test_names_of_entries_have_nothing_of_a_key(group: str, key: bytes) -> None:
    name = entry_name(group, key)
    assert re.fullmatch(rf"{group}/([0-9a-f]{{2}})/\1[0-9a-f]{{62}}", name)


def test_a_group_cannot_name_entries_of_another() -> None:
    assert entry_name("a", b"key") != entry_name("b", b"key")
    assert entry_name("a", b"../b/key").startswith("a/")


def test_values_are_returned_as_they_are() -> None:
    assert value_reply(b"a\r\nb") == b"$4\r\na\r\nb\r\n"
    assert value_reply(b"") == b"$0\r\n\r\n"
    assert value_reply(None) == b"$-1\r\n"
