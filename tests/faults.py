"""A proxy between a client and a real registry, or any servers, that does what networks and servers
do wrong."""

from __future__ import annotations

import http.client
import math
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.loopback import Handler

_PIECE = 1 << 16
_TLS_HANDSHAKE = b"\x16"
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}

# Which of the requests that a rule is for it spoils, counted from 1.
When = Callable[[int], bool]


def always(_: int) -> bool:
    return True


def first(count: int) -> When:
    return lambda number: number <= count


def nth(position: int) -> When:
    return lambda number: number == position


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one exchange. `status`: the registry is not asked, and this is what it
    says; `hang`: nobody answers; `close`: the connection ends before the registry is asked;
    `lose`: after it was; `cut_request`, `cut_response`: in the middle of a body; `corrupt`: the
    body's last byte is another; `headers`: these of the answer are others, None takes one away."""

    status: int | None = None
    hang: bool = False
    close: bool = False
    lose: bool = False
    cut_request: bool = False
    cut_response: bool = False
    corrupt: bool = False
    headers: Mapping[str, str | None] = field(default_factory=dict)


@dataclass
class _Rule:
    method: re.Pattern[str]
    path: re.Pattern[str]
    fault: Fault
    when: When
    matches: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked, and the bytes of the bodies that went to the registry and came from it; of a
    tunnel, all bytes. `started` and `ended` are seconds of a monotonic clock."""

    method: str
    path: str
    sent: int
    received: int
    started: float = 0.0
    ended: float = 0.0


@dataclass
class Proxy:
    """A proxy to the registry `upstream`; without one, to the hosts that clients name, as
    $http_proxy and $https_proxy are. `bandwidth` is that of all answers together, in bytes per
    second."""

    upstream: str
    port: int
    bandwidth: float = math.inf
    exchanges: list[Exchange] = field(default_factory=list)
    hanging: int = 0
    _rules: list[_Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: _Server | None = None
    _released: threading.Event = field(default_factory=threading.Event)
    _idle_from: float = 0.0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def fail(self, method: str, path: str, fault: Fault, when: When = always) -> None:
        """Spoil requests whose method and path match; the patterns are searched for."""
        self._rules.append(_Rule(re.compile(method), re.compile(path), fault, when))

    def heal(self) -> None:
        """Spoil nothing any more, and let go of who hangs."""
        self._rules.clear()
        self._released.set()

    def fault(self, method: str, path: str) -> Fault:
        with self._lock:
            for rule in self._rules:
                if rule.method.search(method) and rule.path.search(path):
                    rule.matches += 1
                    if rule.when(rule.matches):
                        return rule.fault
        return Fault()

    def note(self, exchange: Exchange) -> None:
        with self._lock:
            self.exchanges.append(exchange)

    def count(self, method: str, path: str) -> int:
        """Return how often requests matched this method and path; the patterns are searched for."""
        return sum(
            bool(re.search(method, exchange.method) and re.search(path, exchange.path))
            for exchange in self.exchanges
        )

    @property
    def bytes_sent(self) -> int:
        return sum(exchange.sent for exchange in self.exchanges)

    @property
    def bytes_received(self) -> int:
        return sum(exchange.received for exchange in self.exchanges)

    def pace(self, size: int) -> None:
        """Wait as long as so many bytes take, after those of other answers."""
        with self._lock:
            now = time.monotonic()
            self._idle_from = max(self._idle_from, now) + size / self.bandwidth
            pause = self._idle_from - now
        time.sleep(pause)

    def wait(self) -> None:
        """Wait until `heal` or the end."""
        with self._lock:
            self.hanging += 1
        self._released.wait()

    def come(self) -> None:
        """Start to listen; the port is the same each time."""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def go_away(self) -> None:
        """Refuse connections, and end those that are open."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None


@contextmanager
def proxy(upstream: str, bandwidth: float = math.inf) -> Iterator[Proxy]:
    """A proxy to the registry at `upstream`, host and port, without TLS; without one, to any."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    relay = Proxy(upstream, port, bandwidth)
    relay.come()
    try:
        yield relay
    finally:
        relay.heal()
        relay.go_away()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, owner: Proxy) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", owner.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away."""

    def hang_up(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Cut(Exception):
    """The connection ends here."""


class _Handler(Handler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle(self) -> None:
        """Tell who tries TLS first that there is none, as servers in Go do."""
        with suppress(OSError):
            if self.connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE:
                self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                return
            super().handle()

    def _exchange(self) -> None:
        owner = self.server.owner
        fault = owner.fault(self.command, self.path)
        started, sent, received = time.monotonic(), 0, 0
        try:
            if fault.hang:
                owner.wait()
                raise _Cut
            if fault.close:
                raise _Cut
            if fault.status is not None:
                sent = sum(len(piece) for piece in self._body())
                self._say(fault)
                return
            upstream = owner.upstream or urlsplit(self.path).netloc
            with closing(http.client.HTTPConnection(upstream, timeout=60)) as connection:
                sent = self._ask(connection, fault)
                with connection.getresponse() as response:
                    if fault.lose:
                        raise _Cut
                    received = self._pass_on(response, fault)
        except (_Cut, OSError, http.client.HTTPException):
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        finally:
            ended = time.monotonic()
            owner.note(Exchange(self.command, self.path, sent, received, started, ended))

    def _tunnel(self) -> None:
        """Pass bytes in both directions until one side ends; a tunnel ends with its last bytes."""
        owner, started = self.server.owner, time.monotonic()
        sent = received = 0
        ended = started
        self.close_connection = True
        host, _, port = self.path.rpartition(":")
        with suppress(OSError), socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            while True:
                for source in select.select([self.connection, far], [], [])[0]:
                    piece = source.recv(_PIECE)
                    if not piece:
                        raise ConnectionError
                    if source is far:
                        owner.pace(len(piece))
                        received, ended = received + len(piece), time.monotonic()
                        self.connection.sendall(piece)
                    else:
                        sent += len(piece)
                        far.sendall(piece)
        owner.note(Exchange("CONNECT", self.path, sent, received, started, ended))

    do_CONNECT = _tunnel  # noqa: N815
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _exchange  # noqa: N815

    def _say(self, fault: Fault) -> None:
        assert fault.status is not None
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _ask(self, connection: http.client.HTTPConnection, fault: Fault) -> int:
        """Send the request; return the number of bytes of its body."""
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        is_chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        half = int(self.headers.get("Content-Length") or 0) // 2
        sent = 0
        for piece in self._body():
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            sent += len(piece)
            if fault.cut_request and sent >= half:
                connection.close()
                raise _Cut
        if is_chunked:
            connection.send(b"0\r\n\r\n")
        return sent

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(left, _PIECE))
            if not piece:
                raise _Cut
            left -= len(piece)
            yield piece

    def _pass_on(self, response: http.client.HTTPResponse, fault: Fault) -> int:
        """Give the answer to the client; return the number of bytes of its body."""
        self.send_response(response.status)
        headers = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in _HOP_BY_HOP and name not in fault.headers
        }
        headers |= {name: value for name, value in fault.headers.items() if value is not None}
        length = int(response.headers.get("Content-Length") or 0)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return 0
        received = 0
        while received < length:
            piece = response.read(min(_PIECE, length - received))
            if not piece:
                raise _Cut
            received += len(piece)
            self.server.owner.pace(len(piece))
            if fault.cut_response and received >= length // 2:
                self.wfile.write(piece[: len(piece) // 2])
                raise _Cut
            if fault.corrupt and received == length:
                piece = piece[:-1] + bytes([piece[-1] ^ 1])
            self.wfile.write(piece)
        return received
