"""Storages of compiled objects, and what they do when they fail."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.loopback import Stored, serving
from tests.redis import RedisInMemory, redis_in_memory

from envmatrix.shared_cache import storages
from envmatrix.shared_cache.protocol import MOST_VALUE, entry_name
from envmatrix.shared_cache.storages import (
    FAILURES,
    HttpStorage,
    RedisStorage,
    bucket_url,
    open_storage,
)

NAME = entry_name("group", b"key")


def test_a_directory_has_a_file_for_each_entry(tmp_path: Path) -> None:
    with open_storage(str(tmp_path)) as storage:
        assert storage.get(NAME) is None
        storage.put(NAME, b"one")
        storage.put(NAME, b"two")
        assert storage.get(NAME) == b"two"
    assert [path.name for path in (tmp_path / NAME).parent.iterdir()] == [Path(NAME).name]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o666 & ~umask


def test_a_directory_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    with open_storage(str(tmp_path / "absent")) as storage:
        with pytest.raises(OSError, match="there is no such directory"):
            storage.get(NAME)
        with pytest.raises(OSError, match="there is no such directory"):
            storage.put(NAME, b"")
    assert [*tmp_path.iterdir()] == []


def test_only_a_regular_file_of_allowed_size_is_an_entry(tmp_path: Path) -> None:
    file = tmp_path / NAME
    file.parent.mkdir(parents=True)
    with open_storage(str(tmp_path)) as storage:
        os.mkfifo(file)
        with pytest.raises(OSError, match="no regular file"):
            storage.get(NAME)
        file.unlink()
        with file.open("wb") as handle:
            handle.truncate(MOST_VALUE + 1)
        assert storage.get(NAME) is None


def test_a_server_gets_and_puts_files() -> None:
    handler = Stored.empty()
    with serving(handler) as url, open_storage(f"{url}/ccache/") as storage:
        assert storage.get(NAME) is None
        storage.put(NAME, b"object")
        assert storage.get(NAME) == b"object"
    assert [*handler.contents] == [f"/ccache/{NAME}"]


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_server_that_refuses_has_failed(status: int) -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(status)))
    storage = HttpStorage(client, "https://cache.example")
    with pytest.raises(FAILURES, match=str(status)):
        storage.get(NAME)
    with pytest.raises(FAILURES, match=str(status)):
        storage.put(NAME, b"object")


def test_an_answer_that_is_too_large_is_none() -> None:
    answer = httpx.Response(200, content=bytes(MOST_VALUE + 1))
    client = httpx.Client(transport=httpx.MockTransport(lambda _: answer))
    assert HttpStorage(client, "https://cache.example").get(NAME) is None


def test_a_bucket_is_at_the_endpoint_that_awss_programs_use() -> None:
    parts = urlsplit("s3://bucket/some/prefix/")
    assert (
        bucket_url(parts, {"AWS_REGION": "eu-central-1"})
        == "https://bucket.s3.eu-central-1.amazonaws.com/some/prefix/"
    )
    endpoint = {"AWS_ENDPOINT_URL": "http://minio.example:9000/"}
    assert bucket_url(parts, endpoint) == "http://minio.example:9000/bucket/some/prefix/"


def test_requests_to_a_bucket_are_signed_if_there_are_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = Stored.empty()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving(handler) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with open_storage("s3://bucket/prefix") as storage:
            storage.put(NAME, b"object")
            assert storage.get(NAME) == b"object"
    assert [*handler.contents] == [f"/bucket/prefix/{NAME}"]
    assert [method for method, _ in handler.requests] == ["PUT", "GET"]
    assert all(login.startswith("AWS4-HMAC-SHA256 ") for _, login in handler.requests)


@pytest.fixture
def server() -> Iterator[RedisInMemory]:
    with redis_in_memory() as started:
        yield started


def test_redis_has_entries_under_a_prefix(server: RedisInMemory) -> None:
    with open_storage(server.url) as storage:
        assert storage.get(NAME) is None
        storage.put(NAME, b"object")
        assert storage.get(NAME) == b"object"
    assert server.contents == {f"envmatrix/{NAME}".encode(): b"object"}


def test_the_login_and_the_database_are_those_of_the_url(server: RedisInMemory) -> None:
    address = server.url.removeprefix("redis://")
    with open_storage(f"redis://reader:se%20cret@{address}/2") as storage:
        storage.get(NAME)
    assert server.commands[:2] == [("AUTH", (b"reader", b"se cret")), ("SELECT", (b"2",))]


def test_a_password_for_the_host_may_be_in_a_netrc(
    server: RedisInMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login reader password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with open_storage(server.url) as storage:
        storage.get(NAME)
    assert server.commands[0] == ("AUTH", (b"reader", b"secret"))


def test_a_connection_that_the_server_closed_is_replaced(server: RedisInMemory) -> None:
    with open_storage(server.url) as storage:
        storage.put(NAME, b"object")
        server.answers = [None]
        assert storage.get(NAME) == b"object"
        server.answers = [None, None]
        with pytest.raises(OSError, match="closed the connection"):
            storage.get(NAME)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"-NOAUTH Authentication required.\r\n", "the server answered `NOAUTH"),
        (b"-WRONGTYPE no string\r\n", "the server answered `WRONGTYPE"),
        (b"$99999999999\r\n", "larger than any of ours"),
        (b"$-2\r\n", "larger than any of ours"),
        (b"HTTP/1.1 400 Bad Request\n", "is no Redis"),
    ],
)
def test_an_answer_that_is_no_entry_is_a_failure(
    server: RedisInMemory, answer: bytes, message: str
) -> None:
    server.answers = [answer]
    with open_storage(server.url) as storage, pytest.raises(OSError, match=message):
        storage.get(NAME)


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "PAUSE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with open_storage(url) as storage, pytest.raises(TimeoutError):
            storage.get(NAME)
    assert time.monotonic() - start < 5


def test_a_server_that_is_away_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    for scheme in ("redis", "rediss", "http"):
        with open_storage(f"{scheme}://{address}") as storage, pytest.raises(FAILURES):
            storage.get(NAME)


def test_redis_is_reached_by_several_threads(server: RedisInMemory) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with open_storage(server.url) as storage, ThreadPoolExecutor(8) as pool:
        assert isinstance(storage, RedisStorage)
        names = [entry_name("group", str(number).encode()) for number in range(100)]
        list(pool.map(lambda name: storage.put(name, name.encode()), names))
        assert [*pool.map(storage.get, names)] == [name.encode() for name in names]
