"""Serves the dashboard, each page made when it is asked for.

It listens on loopback, but whatever page a browser shows may send requests there: only those that
name this server as their host are answered, so that no name that a stranger points at 127.0.0.1
gives their scripts the results. A connection carries one request and has little time for it.
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
from envmatrix.results.site import ASSETS, HTML, asset

# Nothing from elsewhere, nothing inline, in no frame: what a test printed is no program.
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

_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# A request's line and headers together, in bytes.
_LARGEST_REQUEST = 32 << 10
# How long a request may take to arrive, and then its answer to be made and taken, in seconds.
_REQUEST_SECONDS = 10
_ANSWER_SECONDS = 60
_MOST_CONNECTIONS = 64

Page = Callable[[str], str | None]


class _Bounded(BufferedIOBase):
    """What a client sends, up to a limit; `is_spent` once it is reached."""

    def __init__(self, file: Any, limit: int) -> None:
        self._file = file
        self._left = limit

    @property
    def is_spent(self) -> bool:
        return self._left <= 0

    def readline(self, size: int | None = -1) -> bytes:
        most = self._left if size is None or size < 0 else min(size, self._left)
        line: bytes = self._file.readline(most) if most else b""
        self._left -= len(line)
        return line

    def close(self) -> None:
        self._file.close()


class Server(ThreadingHTTPServer):
    """Few connections, each for a short time: the oldest makes room for a new one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._ends: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._ends) >= _MOST_CONNECTIONS
            oldest = min(self._ends, key=self._ends.__getitem__) if full else None
            if oldest is not None:
                self._end(oldest)
        self.extend(request, _REQUEST_SECONDS)
        super().process_request(request, client_address)

    def extend(self, request: socket.socket, seconds: float) -> None:
        """Let a connection live this long from now on."""
        with self._lock:
            self._ends[request] = time.monotonic() + seconds

    def service_actions(self) -> None:
        now = time.monotonic()
        with self._lock:
            for request in [its for its, end in self._ends.items() if end <= now]:
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
        """A client that went away, or was too slow, is nobody's failure."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def server(port: int, page: Page) -> Server:
    """A server on loopback, at any free port where that is 0; `page` gives the page at a path."""

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
            """Why a request is not answered."""
            if self._bounded.is_spent:
                return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            hosts = self.headers.get_all("Host", [])
            if not self.path.startswith("/") or len(hosts) != 1:
                return HTTPStatus.BAD_REQUEST
            return None if _is_own(hosts[0], self.server.server_port) else _FOREIGN

        def send_error(self, code: int, *_: object) -> None:
            """Answer in a few words of our own, none of the request's."""
            status = HTTPStatus(code)
            if status == HTTPStatus.NOT_IMPLEMENTED:  # any method but GET and HEAD
                status = HTTPStatus.METHOD_NOT_ALLOWED
            self.requestline = getattr(self, "requestline", "")
            self.request_version = "HTTP/1.1"
            self._say(status, status.phrase.lower())

        def _say(self, status: HTTPStatus, message: str) -> None:
            self._answer(status, _PLAIN, f"{message}\n".encode("utf-8", "replace"))

        def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.close_connection = True
            self.send_response(status)
            if status == HTTPStatus.METHOD_NOT_ALLOWED:
                self.send_header("Allow", "GET, HEAD")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Who asks for what is nobody's business."""

    return Server(port, Handler)


_FOREIGN = HTTPStatus.MISDIRECTED_REQUEST
_HOST = re.compile(r"(\[[0-9a-f:]+\]|[^:\[\]]+)(?::(\d{1,5}))?", re.ASCII)


def _is_own(host: str, port: int) -> bool:
    """Whether a Host header names this server."""
    match = _HOST.fullmatch(host.strip().lower())
    return match is not None and match[1] in _HOSTS and int(match[2] or port) == port
