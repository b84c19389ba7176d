"""The container engine's API behind the real client: requests are recorded, and answered from a
table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import docker
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.exceptions import ConnectionError as Refused
from tests.loopback import Handler, listening
from urllib3 import HTTPResponse

VERSION = "1.44"
_ADDRESS = "http://engine.example:2375"


@dataclass(frozen=True)
class ApiRequest:
    """A request: `action` is its method and path, such as `POST /containers/create`; `timeout` is
    that of the real client, in seconds."""

    action: str
    query: str
    body: Any
    timeout: float | None = None


@dataclass(frozen=True)
class Failure:
    """An answer that is an error."""

    status: int
    message: str = "it failed"


@dataclass
class DockerApi(BaseAdapter):
    """Answers by action: a document, bytes or a failure; `is_gone`: there are none any more."""

    answers: Mapping[str, object]
    requests: list[ApiRequest] = field(default_factory=list)
    is_gone: bool = False

    def client(self) -> docker.DockerClient:
        client = docker.DockerClient(_ADDRESS, version=VERSION)
        client.api.mount(_ADDRESS, self)
        return client

    @property
    def actions(self) -> list[str]:
        return [request.action for request in self.requests]

    def send(  # type: ignore[override]
        self, request: PreparedRequest, *, timeout: float | None = None, **_: Any
    ) -> Response:
        body = json.loads(request.body) if request.body else None
        method, path = str(request.method), str(request.path_url)
        status, content = self.answer(method, path, body, timeout)
        response = Response()
        response.request = request
        response.url = str(request.url)
        response.status_code = status
        response.raw = HTTPResponse(_Body(content), preload_content=False)
        return response

    def answer(
        self, method: str, path: str, body: Any, timeout: float | None = None
    ) -> tuple[int, bytes]:
        """Record a request; return the status and the content of its answer."""
        url = urlsplit(path.removeprefix(f"/v{VERSION}"))
        action = f"{method} {url.path}"
        self.requests.append(ApiRequest(action, url.query, body, timeout))
        if self.is_gone:
            raise Refused("connection refused")
        answer = self.answers[action]
        if isinstance(answer, Failure):
            return answer.status, json.dumps({"message": answer.message}).encode()
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def close(self) -> None:
        pass


class _Body(BytesIO):
    """The body of a response, with what docker-py looks for below it."""

    chunked = False
    fp = SimpleNamespace(raw=SimpleNamespace())


@contextmanager
def at_socket(api: DockerApi) -> Iterator[str]:
    """Yield the path of a Unix socket with an engine that answers as `api` does."""

    class Answers(Handler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(size)) if size else None
            self.answer(*api.answer(self.command, self.path, body))

        do_POST = do_DELETE = do_GET  # noqa: N815 -- as the server calls them

    with listening(Answers) as path:
        yield path
