"""What a container may do with the shared cache, also if it does not mean well."""

from __future__ import annotations

import io
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import MemoryStorage
from tests.unit.shared_cache.test_protocol import encoded

from envmatrix.errors import LookupFailed
from envmatrix.machine.configuration import SharedCache
from envmatrix.parallel import Once
from envmatrix.shared_cache.gateway import Gateway, open_gateway
from envmatrix.shared_cache.protocol import MOST_VALUE, Malformed, entry_name, read_request

GROUP = "0123456789ab"
NAME = entry_name(GROUP, b"key")


@dataclass
class Container:
    """Sends requests to a gateway."""

    storage: MemoryStorage = field(default_factory=MemoryStorage)
    warnings: list[str] = field(default_factory=list)
    is_writable: bool = False
    failure: Once = field(default_factory=Once)

    def __post_init__(self) -> None:
        self.gateway = Gateway(
            self.storage, GROUP, self.is_writable, self.failure, self.warnings.append
        )

    def send(self, content: bytes) -> list[bytes]:
        stream, answers = io.BytesIO(content), []
        while request := read_request(stream):
            answers.append(self.gateway.reply(request, stream))
        return answers

    def ask(self, *words: bytes) -> bytes:
        (answer,) = self.send(encoded(*words))
        return answer


def test_entries_of_the_group_are_read() -> None:
    container = Container(MemoryStorage({NAME: b"object"}))
    assert container.ask(b"GET", b"key") == b"$6\r\nobject\r\n"
    assert container.ask(b"EXISTS", b"key") == b":1\r\n"
    assert container.ask(b"GET", b"other") == b"$-1\r\n"
    assert container.ask(b"EXISTS", b"other") == b":0\r\n"


def test_what_is_written_is_read_where_it_is_allowed() -> None:
    container = Container(is_writable=True)
    assert container.ask(b"SET", b"key", b"object") == b"+OK\r\n"
    assert container.storage.contents == {NAME: b"object"}
    assert container.ask(b"DEL", b"key") == b":0\r\n"
    assert container.ask(b"GET", b"key") == b"$6\r\nobject\r\n"


def test_what_must_not_be_written_is_ignored() -> None:
    """sccache stops to write its own directory if a write fails."""
    container = Container()
    assert container.ask(b"SET", b"key", b"object") == b"+OK\r\n"
    assert container.storage.calls == []


def test_what_is_too_large_is_not_stored() -> None:
    container = Container(is_writable=True)
    content = encoded(b"SET", b"key", bytes(MOST_VALUE + 1)) + encoded(b"PING")
    assert container.send(content) == [b"+OK\r\n", b"+PONG\r\n"]
    assert container.storage.calls == []


@pytest.mark.parametrize(
    "words",
    [
        (b"FLUSHALL",),
        (b"CONFIG", b"SET", b"dir", b"/etc"),
        (b"EVAL", b"return 1", b"0"),
        (b"APPEND", b"key", b"value"),
        (b"SETEX", b"key", b"1", b"value"),
        (b"RENAME", b"key", b"other"),
        (b"AUTH", b"secret"),
        (b"SELECT", b"1"),
        (b"CLIENT", b"SETINFO", b"LIB-NAME", b"redis-rs"),
        (b"GET",),
        (b"GET", b"key", b"other"),
        (b"SET", b"key"),
    ],
)
def test_all_other_commands_are_refused(words: tuple[bytes, ...]) -> None:
    container = Container(is_writable=True)
    assert container.ask(*words).startswith(b"-ERR ")
    assert container.storage.calls == []


@given(
    st.lists(st.lists(st.sampled_from([b"SET", b"set", b"GET", b"DEL", b"EXISTS", b"key", b""])))
)
def test_a_reader_writes_nothing_whatever_it_sends(requests: list[list[bytes]]) -> None:
    storage = MemoryStorage({NAME: b"object"})
    with suppress(Malformed):
        Container(storage).send(b"".join(encoded(*words) for words in requests))
    assert storage.contents == {NAME: b"object"}


@pytest.mark.parametrize("words", [(b"GET", b"key"), (b"SET", b"key", b"value")])
@pytest.mark.parametrize("error", [OSError("it is away"), LookupFailed("it is away")])
def test_a_storage_that_fails_is_waited_for_once(
    words: tuple[bytes, ...], error: Exception
) -> None:
    container = Container(MemoryStorage(error=error), is_writable=True)
    for _ in range(3):
        assert container.ask(*words) == (b"$-1\r\n" if words[0] == b"GET" else b"+OK\r\n")
    assert container.ask(b"PING") == b"+PONG\r\n"
    assert len(container.storage.calls) == 1
    assert container.warnings == ["it is away"]


def test_no_other_container_waits_for_a_storage_that_failed() -> None:
    storage, failure = MemoryStorage(error=OSError("it is away")), Once()
    containers = [Container(storage, failure=failure) for _ in range(3)]
    assert [container.ask(b"GET", b"key") for container in containers] == [b"$-1\r\n"] * 3
    assert len(storage.calls) == 1
    assert [container.warnings for container in containers] == [["it is away"], [], []]


@contextmanager
def connected(file: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(file))
        yield client


@pytest.fixture
def cache(tmp_path: Path) -> SharedCache:
    (tmp_path / "storage").mkdir()
    return SharedCache(str(tmp_path / "storage"), is_writable=True)


def test_a_socket_answers_until_the_end(tmp_path: Path, cache: SharedCache) -> None:
    file = tmp_path / "build/cache.socket"
    for value in (b"one", b"two"):
        with open_gateway(file, cache, GROUP, Once(), pytest.fail), connected(file) as client:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            client.sendall(encoded(b"SET", b"key", value) + encoded(b"GET", b"key"))
            assert client.makefile("rb").readline() == b"+OK\r\n"
        assert not file.exists()
        assert (tmp_path / "storage" / NAME).read_bytes() == value


def test_a_path_may_be_longer_than_that_of_a_socket(tmp_path: Path, cache: SharedCache) -> None:
    file = tmp_path / ("long" * 30) / "cache.socket"
    with open_gateway(file, cache, GROUP, Once(), pytest.fail):
        assert stat.S_ISSOCK(file.stat().st_mode)


def test_what_is_no_request_ends_its_connection_only(tmp_path: Path, cache: SharedCache) -> None:
    file = tmp_path / "cache.socket"
    with open_gateway(file, cache, GROUP, Once(), pytest.fail):
        with connected(file) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"-ERR ")
        with connected(file) as client:
            client.sendall(b"*3\r\n$3\r\nSET\r\n")
        with connected(file) as client:
            client.sendall(encoded(b"PING"))
            assert client.recv(100) == b"+PONG\r\n"


def test_many_connections_are_open_at_once(tmp_path: Path, cache: SharedCache) -> None:
    file = tmp_path / "cache.socket"
    with open_gateway(file, cache, GROUP, Once(), pytest.fail), ExitStack() as stack:
        clients = [stack.enter_context(connected(file)) for _ in range(100)]
        for client in reversed(clients):
            client.sendall(encoded(b"PING"))
            assert client.recv(100) == b"+PONG\r\n"
