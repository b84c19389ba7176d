"""The requests of the engine's API about images and containers, over the engine's own socket or a
client's connection.

docker-py takes longer to import than the engine to answer all of them.
https://docs.docker.com/reference/api/engine/version/v1.44/
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any, Protocol, cast
from urllib.parse import quote, urlencode

from envmatrix.errors import EngineError
from envmatrix.machine.error_texts import JOIN_GROUP, refuses_user
from envmatrix.records import dataclass

Output = Iterator[tuple[int, bytes]]

# An engine that unpacks a layer says nothing until it is done:
# https://github.com/docker/docker-py/issues/2097
SILENCE_SECONDS = 1800

# That of Docker Engine 25, which newer ones have as well.
_VERSION = "v1.44"
_SOCKET = "/var/run/docker.sock"
SET_UP = "set one up: `envmatrix doctor --fix`"

# The header of a frame: the number of the stream, and a size.
_FRAME = struct.Struct(">BxxxL")
_CHUNK = 1 << 18


class RequestFailed(EngineError):
    """The engine refused a request, with this status, or did not answer: then it has none."""

    def __init__(self, message: str, status: int | None = None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NameConflict(EngineError):
    """Another container has the name of one that should be created."""


def no_answer(message: str) -> RequestFailed:
    hint = JOIN_GROUP if refuses_user(message) else SET_UP
    return RequestFailed(f"no container engine answers: {message}", hint=hint)


@dataclass(frozen=True, slots=True)
class Request:
    """A request: the path with its query, the document that it sends, if any, and for how many
    seconds the engine may be silent, if not for ever."""

    method: str
    path: str
    document: Mapping[str, Any] | None = None
    silence: float | None = SILENCE_SECONDS


class Response(Protocol):
    """A response of the engine, read piece by piece."""

    status: int

    def read(self) -> bytes: ...

    def read1(self, size: int, /) -> bytes: ...


# Sends a request, and closes its response after the block; RequestFailed where no engine answers.
# A connection that is lost then is an OSError or an HTTPException.
Send = Callable[[Request], AbstractContextManager[Response]]


class Engine:
    """A container engine, which `send` reaches, from several threads at once."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def image(self, name: str) -> Mapping[str, Any] | None:
        """Return what the engine says of an image; None where it does not exist."""
        try:
            image = self._ask("GET", f"/images/{quote(name, safe='/:@')}/json")
        except RequestFailed as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return cast("Mapping[str, Any]", image)

    def create(self, name: str, document: Mapping[str, Any], platform: str) -> None:
        """Create a container, not started yet; NameConflict where another one has its name."""
        try:
            self._ask("POST", "/containers/create", document, name=name, platform=platform)
        except RequestFailed as error:
            failure = NameConflict if error.status == HTTPStatus.CONFLICT else EngineError
            raise failure(f"no container of `{document['Image']}` can be made: {error}") from error

    def start(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/start")

    def kill(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/kill")

    def wait(self, name: str) -> int:
        """Wait for the end of a container; return its status."""
        return int(self._ask("POST", f"/containers/{name}/wait", silence=None)["StatusCode"])

    def container(self, name: str) -> Mapping[str, Any]:
        """Return what the engine says of a container."""
        return cast("Mapping[str, Any]", self._ask("GET", f"/containers/{name}/json"))

    def remove(self, name: str) -> None:
        """Kill and remove a container, if it exists."""
        with suppress(RequestFailed):  # an engine that is gone keeps nothing running
            self._ask("DELETE", f"/containers/{name}", force=1)

    def containers(self, label: str, **filters: str) -> Sequence[Mapping[str, Any]]:
        """Return what the engine says of all containers with a label, and with other properties."""
        words = json.dumps({"label": [label], **{key: [word] for key, word in filters.items()}})
        rows: Sequence[Mapping[str, Any]] = self._ask(
            "GET", "/containers/json", all=1, filters=words
        )
        return rows

    def attach(self, name: str) -> AbstractContextManager[Output]:
        """Attach to a container; yield its output as it comes: 0 for standard output or 1 for
        standard error, and some bytes."""
        return self._output("POST", f"/containers/{name}/attach", stream=1)

    def follow(self, name: str) -> AbstractContextManager[Output]:
        """Yield the output of a container from its beginning to its end, as `attach` does, where
        the engine keeps it."""
        return self._output("GET", f"/containers/{name}/logs", follow=1)

    @contextmanager
    def _output(self, method: str, path: str, **query: object) -> Iterator[Output]:
        words = urlencode({"stdout": 1, "stderr": 1, **query})
        request = Request(method, f"{path}?{words}", silence=None)
        with _lost_connections(), self._send(request) as response:
            _check(response)
            yield _frames(response)

    def _ask(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        silence: float | None = SILENCE_SECONDS,
        **query: object,
    ) -> Any:
        """Return the document that answers a request, None where there is none."""
        address = f"{path}?{urlencode(query)}" if query else path
        request = Request(method, address, document, silence)
        with _lost_connections(), self._send(request) as response:
            _check(response)
            content = response.read()
        return json.loads(content) if content else None


@contextmanager
def _lost_connections() -> Iterator[None]:
    """Raise RequestFailed where the connection to the engine is lost."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise RequestFailed(f"the engine went away: {error or type(error).__name__}") from error


def _check(response: Response) -> None:
    """Raise RequestFailed where the engine refused a request."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return
    content = response.read()
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = content.decode("utf-8", "replace") or f"status {response.status}"
    raise RequestFailed(message, response.status)


def _frames(stream: Response) -> Output:
    """Yield the frames of a multiplexed stream; those of a stream that come together as one,
    because each line of a log is a frame.

    https://docs.docker.com/reference/api/engine/version/v1.45/#tag/Container/operation/ContainerAttach
    """
    rest = b""
    while chunk := _next_chunk(stream):
        frames, rest = _split_frames(rest + chunk)
        for number, pieces in groupby(frames, itemgetter(0)):
            yield number, b"".join(piece for _, piece in pieces)


def _next_chunk(stream: Response) -> bytes:
    with _lost_connections():
        return stream.read1(_CHUNK)


def _split_frames(content: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the complete frames in `content`, and what is behind them."""
    frames, start = [], 0
    while len(content) >= start + _FRAME.size:
        number, size = _FRAME.unpack_from(content, start)
        end = start + _FRAME.size + size
        if end > len(content):
            break
        frames.append((number - 1, content[start + _FRAME.size : end]))
        start = end
    return frames, content[start:]


class _SocketConnection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def engine_at(path: str) -> Engine:
    """Return the engine that listens at a Unix socket."""

    @contextmanager
    def send(request: Request) -> Iterator[Response]:
        body, headers = None, {}
        if request.document is not None:
            body, headers = json.dumps(request.document), {"Content-Type": "application/json"}
        with closing(_SocketConnection(path, request.silence)) as connection:
            try:
                connection.connect()
            except OSError as error:
                raise no_answer(f"{path}: {error}") from error
            connection.request(request.method, f"/{_VERSION}{request.path}", body, headers)
            with connection.getresponse() as response:
                yield response

    return Engine(send)


def local_socket(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of the Unix socket that Docker's client would use; None where it would use
    something else, or a context."""
    if address := environment.get("DOCKER_HOST"):
        scheme, _, path = address.partition("://")
        return path if scheme == "unix" and path.startswith("/") else None
    context = environment.get("DOCKER_CONTEXT") or _configured_context(environment)
    return _SOCKET if context in ("", "default") else None


def _configured_context(environment: Mapping[str, str]) -> str | None:
    """Return the context of the configuration of Docker's client; None where it is unreadable."""
    directory = environment.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        return str(
            json.loads(Path(directory, "config.json").read_bytes()).get("currentContext", "")
        )
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError):
        return None
