"""What the dashboard's server answers, and whom."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.loopback import running

from envmatrix.errors import LookupFailed
from envmatrix.results import server as servers
from envmatrix.results.server import Server, server


def page(path: str) -> str | None:
    if path == "away.html":
        raise LookupFailed("the results store is away")
    return "<p>a page</p>" if path == "index.html" else None


@pytest.fixture
def serving() -> Iterator[Server]:
    with server(0, page) as instance, running(instance):
        yield instance


def exchange(serving: Server, request: bytes) -> bytes:
    """Return the whole response to a request."""
    with socket.create_connection(serving.server_address[:2], timeout=20) as client:  # type: ignore[arg-type]
        client.sendall(request)
        answer = b""
        try:
            while part := client.recv(1 << 16):
                answer += part
        except ConnectionResetError:  # it had not read all of the request
            pass
        return answer


def get(serving: Server, path: str = "/", host: str | None = None, method: str = "GET") -> bytes:
    host = f"127.0.0.1:{serving.server_port}" if host is None else host
    return exchange(serving, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def test_a_page_says_what_it_may_load_and_who_may_show_it(serving: Server) -> None:
    answer = get(serving)
    assert status(answer) == 200
    assert answer.endswith(b"<p>a page</p>")
    for header in (
        b"default-src 'none'",
        b"frame-ancestors 'none'",
        b"nosniff",
        b"no-referrer",
        b"Cross-Origin-Resource-Policy: same-origin",
        b"Connection: close",
    ):
        assert header in answer


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_names_of_loopback_are_answered(serving: Server, name: str) -> None:
    assert status(get(serving, host=f"{name}:{serving.server_port}")) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.",
        "127.0.0.1:1",
        "0.0.0.0",  # noqa: S104 -- what a client says
        "localhost@evil.example",
        "[::ffff:7f00:1]",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.1",
        "2130706433",
        "",
    ],
)
def test_another_host_is_not_answered(serving: Server, host: str) -> None:
    answer = get(serving, host=host)
    assert status(answer) in (400, 421)
    assert b"a page" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: localhost:1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/x\r\nHost: localhost\r\n\r\n",
        b"GET / a b c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /\x00\xff HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 5_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n no colon\r\n\r\n\r\n",
    ],
    ids=lambda request: repr(request[:60]),
)
def test_what_is_no_request_is_refused(
    serving: Server, request_: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = exchange(serving, request_)
    assert not answer or status(answer) in (400, 404, 414, 421, 431, 505)
    assert b"a page" not in answer
    assert status(get(serving)) == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "__init__"])
def test_only_reading_is_allowed(serving: Server, method: str) -> None:
    answer = get(serving, method=method)
    assert status(answer) == 405
    assert b"Allow: GET, HEAD" in answer


def test_a_head_has_no_body(serving: Server) -> None:
    assert get(serving, method="HEAD").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "path", ["/nothing", "/../../etc/passwd", "/%2e%2e/x", "/%00", "//evil.example"]
)
def test_what_is_no_page_is_not_found(serving: Server, path: str) -> None:
    assert status(get(serving, path)) == 404


def test_a_store_that_is_away_is_told(serving: Server) -> None:
    answer = get(serving, "/away.html")
    assert status(answer) == 503
    assert b"the results store is away" in answer


def test_hundreds_of_idle_connections_keep_nobody_out(serving: Server) -> None:
    idle = [socket.create_connection(serving.server_address[:2]) for _ in range(400)]  # type: ignore[arg-type]
    try:
        assert status(get(serving)) == 200
        time.sleep(0.2)
        handlers = [thread for thread in threading.enumerate() if "process_request" in thread.name]
        assert len(handlers) <= 80
    finally:
        for connection in idle:
            connection.close()


def test_a_slow_request_is_ended(serving: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_REQUEST_SECONDS", 0.3)
    with socket.create_connection(serving.server_address[:2], timeout=10) as client:  # type: ignore[arg-type]
        start = time.monotonic()
        client.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(50):
            time.sleep(0.05)
            try:
                client.sendall(b"X")
            except OSError:
                break
        assert time.monotonic() - start < 2
