"""HTTP server of the dashboard, which renders each page on request.

It listens on loopback, but any page in a browser may send requests there: only requests with this
server as their host are answered, which prevents DNS rebinding. A connection carries one request
and has a short timeout.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any
from urllib.parse import unquote

from envmatrix.errors import EnvmatrixError
from envmatrix.results.page_templates import ASSETS, HTML, asset

# No foreign origins, no inline scripts, no frames: output of tests must not be executed.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Connection": "close",
}
_PLAIN = "text/plain; charset=utf-8"

# A request's line and headers together, in bytes.
_LARGEST_REQUEST = 32 << 10
# Timeouts for receiving a request, and for rendering and sending its response, in seconds.
_REQUEST_SECONDS = 10
_ANSWER_SECONDS = 60
_MOST_CONNECTIONS = 64


class _Bounded(BufferedIOBase):
    """The input of a client up to a limit in bytes, of which some are `left`."""

    def __init__(self, file: Any, limit: int) -> None:
        self._file = file
        self.left = limit

    def readline(self, size: int | None = -1) -> bytes:
        most = self.left if size is None or size < 0 else min(size, self.left)
        line: bytes = self._file.readline(most) if most else b""
        self.left -= len(line)
        return line

    def close(self) -> None:
        self._file.close()


class Server(ThreadingHTTPServer):
    """A server with few, short connections: the oldest is closed for a new one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._ends: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._ends) >= _MOST_CONNECTIONS:
                self._end(min(self._ends, key=self._ends.__getitem__))
        self.extend(request, _REQUEST_SECONDS)
        super().process_request(request, client_address)

    def extend(self, request: socket.socket, seconds: float) -> None:
        """Set the timeout of a connection from now on."""
        with self._lock:
            self._ends[request] = time.monotonic() + seconds

    def service_actions(self) -> None:
        now = time.monotonic()
        with self._lock:
            for request in [connection for connection, end in self._ends.items() if end <= now]:
                self._end(request)

    def _end(self, request: socket.socket) -> None:
        """Wake the thread of a connection, which then closes it."""
        del self._ends[request]
        with suppress(OSError):  # closed already
            request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._ends.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnected or were too slow."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def server(port: int, page: Callable[[str], str | None]) -> Server:
    """Return a server on loopback; port 0 selects a free one. `page` returns the page at a path."""

    class Handler(BaseHTTPRequestHandler):
        server: Server
        server_version = "envmatrix"
        sys_version = ""
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self._bounded = _Bounded(self.rfile, _LARGEST_REQUEST)
            self.rfile = self._bounded

        def do_GET(self) -> None:
            self.server.extend(self.connection, _ANSWER_SECONDS)
            if (problem := self._problem()) is not None:
                self.send_error(problem)
                return
            path = unquote(self.path.partition("?")[0])[1:] or "index.html"
            if path in ASSETS:
                self._answer(HTTPStatus.OK, ASSETS[path], asset(path))
                return
            try:
                text = page(path)
            except EnvmatrixError as error:
                self._say(HTTPStatus.SERVICE_UNAVAILABLE, error.message)
                return
            if text is None:
                self._say(HTTPStatus.NOT_FOUND, "there is no such page")
            else:
                self._answer(HTTPStatus.OK, HTML, text.encode("utf-8", "replace"))

        do_HEAD = do_GET  # noqa: N815

        def _problem(self) -> HTTPStatus | None:
            """Return the status of a rejected request; None if it is accepted."""
            if not self._bounded.left:
                return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            hosts = self.headers.get_all("Host", [])
            if not self.path.startswith("/") or len(hosts) != 1:
                return HTTPStatus.BAD_REQUEST
            is_own = _is_own(hosts[0], self.server.server_port)
            return None if is_own else HTTPStatus.MISDIRECTED_REQUEST

        def send_error(self, code: int, *_: object) -> None:
            """Send a fixed text that contains nothing of the request."""
            status = HTTPStatus(code)
            if status == HTTPStatus.NOT_IMPLEMENTED:  # any method but GET and HEAD
                status = HTTPStatus.METHOD_NOT_ALLOWED
            self.requestline = getattr(self, "requestline", "")
            self.request_version = "HTTP/1.1"
            self._say(status, status.phrase.lower())

        def _say(self, status: HTTPStatus, message: str) -> None:
            self._answer(status, _PLAIN, f"{message}\n".encode("utf-8", "replace"))

        def _answer(self, status: HTTPStatus, content_type: str, content: bytes) -> None:
            self.close_connection = True
            self.send_response(status)
            if status == HTTPStatus.METHOD_NOT_ALLOWED:
                self.send_header("Allow", "GET, HEAD")
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Log no requests."""

    return Server(port, Handler)


_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::(\d{1,5}))?", re.ASCII)


def _is_own(host: str, port: int) -> bool:
    """Return True if a Host header names this server."""
    match = _HOST.fullmatch(host.strip().lower())
    return match is not None and int(match[1] or port) == port
