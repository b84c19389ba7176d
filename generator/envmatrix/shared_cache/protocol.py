"""Redis's protocol, as far as compiler caches use it: requests of a container, and replies to them.
Pure.

Programs in the container may send anything, so what is not exactly a request is refused."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from envmatrix.records import dataclass

# The limit of a value that is stored or returned, in bytes.
MOST_VALUE = 32 << 20
# Redis's own limit of a value.
_MOST_BULK = 512 << 20
_MOST_WORDS = 8
_MOST_WORD = 512
_LONGEST_NUMBER = 16
_CHUNK = 1 << 16

OK, PONG, ABSENT = b"+OK\r\n", b"+PONG\r\n", b"$-1\r\n"


class Stream(Protocol):
    """A buffered stream: it reads as many bytes as are asked for, unless it ends."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...


class Malformed(Exception):
    """The stream has no request; where the next one begins is unknown."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command and its words. `value_size` is the size of the value of SET, which follows in the
    stream."""

    command: str
    words: tuple[bytes, ...] = ()
    value_size: int | None = None


def read_request(stream: Stream) -> Request | None:
    """Read a request, but not the value of SET; return None at the end of the stream."""
    line = stream.readline(_LONGEST_NUMBER)
    if not line:
        return None
    count = _number(line, b"*", 1, _MOST_WORDS)
    command = _word(stream).decode("latin-1").upper()
    words: list[bytes] = []
    while len(words) < count - 1:
        if command == "SET" and len(words) == 1:
            if count > 3:
                raise Malformed("SET has options")
            return Request(command, tuple(words), _size(stream, _MOST_BULK))
        words.append(_word(stream))
    return Request(command, tuple(words))


def read_value(stream: Stream, size: int) -> bytes:
    """Read the value of SET."""
    return _content(stream, size)


def skip_value(stream: Stream, size: int) -> None:
    """Read the value of SET without keeping it in memory."""
    while size > _CHUNK:
        size -= len(_exactly(stream, _CHUNK))
    _content(stream, size)


def value_reply(value: bytes | None) -> bytes:
    return ABSENT if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def number_reply(number: int) -> bytes:
    return b":%d\r\n" % number


def error_reply(message: str) -> bytes:
    return b"-ERR %b\r\n" % message.encode("ascii")


def entry_name(group: str, key: bytes) -> str:
    """Return the name of an entry in a storage. Nothing that a container sends is part of it, and
    entries of a trust group have names of their own."""
    digest = hashlib.sha256(key).hexdigest()
    return f"{group}/{digest[:2]}/{digest}"


def _word(stream: Stream) -> bytes:
    return _content(stream, _size(stream, _MOST_WORD))


def _size(stream: Stream, most: int) -> int:
    return _number(stream.readline(_LONGEST_NUMBER), b"$", 0, most)


def _number(line: bytes, sign: bytes, least: int, most: int) -> int:
    match = re.fullmatch(re.escape(sign) + rb"(0|[1-9][0-9]*)\r\n", line)
    if match is None or not least <= int(match[1]) <= most:
        raise Malformed(f"no number after `{sign.decode()}` between {least} and {most}")
    return int(match[1])


def _content(stream: Stream, size: int) -> bytes:
    content = _exactly(stream, size)
    if _exactly(stream, 2) != b"\r\n":
        raise Malformed("a value is longer than its size")
    return content


def _exactly(stream: Stream, size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise Malformed("the stream ends within a request")
    return content
