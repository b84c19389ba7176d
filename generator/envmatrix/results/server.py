"""Serves the dashboard, each page made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from envmatrix.errors import EnvmatrixError
from envmatrix.results.site import ASSETS, HTML, asset

# Nothing from elsewhere, and nothing inline: what a test printed cannot become a program.
_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:"

Page = Callable[[str], str | None]


def server(port: int, page: Page) -> ThreadingHTTPServer:
    """A server on loopback, at any free port where that is 0; `page` gives the page at a path."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "envmatrix"
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
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

        def _say(self, status: HTTPStatus, message: str) -> None:
            self._answer(status, "text/plain; charset=utf-8", f"{message}\n".encode())

        def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Who asks for what is nobody's business."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
