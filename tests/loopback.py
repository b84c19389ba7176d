"""HTTP servers on loopback and at Unix sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer, ThreadingMixIn, UnixStreamServer
from tempfile import TemporaryDirectory

Handlers = Callable[..., BaseHTTPRequestHandler]


class Handler(BaseHTTPRequestHandler):
    """Answers without a log on stderr."""

    def answer(
        self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Files(Handler, SimpleHTTPRequestHandler):
    """Answers with the files below a directory."""

    @classmethod
    def below(cls, root: Path) -> Handlers:
        return partial(cls, directory=str(root))


class Stored(Handler):
    """A stand-in for a server that takes files by PUT. `requests` are the methods and the logins of
    all requests."""

    contents: dict[str, bytes]
    requests: list[tuple[str, str]]

    @classmethod
    def empty(cls) -> type[Stored]:
        return type("Empty", (cls,), {"contents": {}, "requests": []})

    def do_GET(self) -> None:
        self.requests.append((self.command, self.headers.get("Authorization", "")))
        content = self.contents.get(self.path)
        self.answer(404 if content is None else 200, content or b"")

    def do_PUT(self) -> None:
        self.requests.append((self.command, self.headers.get("Authorization", "")))
        self.contents[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201)


@contextmanager
def running(server: BaseServer) -> Iterator[None]:
    """Answer in the background until the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def serving(handler: Handlers) -> Iterator[str]:
    """Yield the URL of a server whose requests go to `handler`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, running(server):
        yield f"http://127.0.0.1:{server.server_port}"


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@contextmanager
def listening(handler: Handlers) -> Iterator[str]:
    """Yield the path of a Unix socket whose requests go to `handler`."""
    with (
        TemporaryDirectory() as directory,
        _UnixServer(f"{directory}/socket", handler) as server,
        running(server),
    ):
        yield f"{directory}/socket"
