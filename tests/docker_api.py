"""The container engine's API behind the real client: requests are recorded, and answered from a
table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import docker
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.exceptions import ConnectionError as Refused
from urllib3 import HTTPResponse

VERSION = "1.44"
_ADDRESS = "http://engine.example:2375"


@dataclass(frozen=True)
class ApiRequest:
    """A request: `action` is its method and path, such as `POST /containers/create`."""

    action: str
    query: str
    body: Any


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

    def send(self, request: PreparedRequest, **_: Any) -> Response:  # type: ignore[override]
        url = urlsplit(str(request.path_url).removeprefix(f"/v{VERSION}"))
        action = f"{request.method} {url.path}"
        body = json.loads(request.body) if request.body else None
        self.requests.append(ApiRequest(action, url.query, body))
        if self.is_gone:
            raise Refused("connection refused")
        return _response(request, self.answers[action])

    def close(self) -> None:
        pass


class _Body(BytesIO):
    """The body of a response, with the socket that docker-py looks for below it."""

    fp = SimpleNamespace(raw=SimpleNamespace())


def _response(request: PreparedRequest, answer: object) -> Response:
    response = Response()
    response.request = request
    response.url = str(request.url)
    response.status_code = 200
    if isinstance(answer, Failure):
        response.status_code = answer.status
        answer = {"message": answer.message}
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    response.raw = HTTPResponse(_Body(content), preload_content=False)
    return response
