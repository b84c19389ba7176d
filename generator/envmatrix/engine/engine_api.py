"""The requests of the engine's API about images and containers, over the engine's own socket or a
client's connection.

docker-py takes longer to import than the engine to answer all of them.
https://docs.docker.com/reference/api/engine/version/v1.44/
"""

from __future__ import annotations

import json
import os
import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from http import HTTPStatus
from io import BufferedReader
from itertools import groupby
from operator import itemgetter
from socket import AF_UNIX, socket
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

from envmatrix.errors import EngineError
from envmatrix.machine.engine_address import engine_address
from envmatrix.machine.readiness import SOCKETS, client_directory
from envmatrix.machine.remedies import engine_remedy
from envmatrix.records import dataclass

T = TypeVar("T")
Output = Iterator[tuple[int, bytes]]

# How long the engine may be silent while it moves layers and files: it says nothing until a layer
# is unpacked (https://github.com/docker/docker-py/issues/2097).
TRANSFER_SECONDS = 1800
# The same while it does something else, such as to start a container, to remove an image, or to
# compute the sizes of all.
WORK_SECONDS = 300
# The limit of a whole answer that needs no work of the engine, such as of an image or its version.
ANSWER_SECONDS = 60

_TRANSFERS = re.compile(r"/images/(create|load|.+/(push|get))|/containers/[^/]+/archive")

# That of Docker Engine 25, which newer ones have as well.
_VERSION = "v1.44"

# The header of a frame: the number of the stream, and a size.
_FRAME = struct.Struct(">BxxxL")
_CHUNK = 1 << 18
_LONGEST_LINE = 1 << 16
_MOST_HEADERS = 100

_DIAGNOSE = "see what is wrong with it: `envmatrix doctor`"


class RequestFailed(EngineError):
    """The engine refused a request, with this status, or did not answer: then it has none."""

    def __init__(self, message: str, status: int | None = None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NameConflict(EngineError):
    """Another container has the name of one that should be created."""


def longest_silence(method: str, path: str) -> float:
    """Return for how many seconds the engine may be silent in a request; `path` has neither the
    version of the API nor a query."""
    if _TRANSFERS.fullmatch(path):
        return TRANSFER_SECONDS
    return ANSWER_SECONDS if method == "GET" and path != "/images/json" else WORK_SECONDS


def no_answer(message: str) -> RequestFailed:
    hint = engine_remedy(message, engine_address(os.environ))
    return RequestFailed(f"no container engine answers: {message}", hint=hint)


@dataclass(frozen=True, slots=True)
class Request:
    """A request: the path with its query, the document that it sends, if any, for how many seconds
    the engine may be silent, if not for ever, and how many the whole answer may take."""

    method: str
    path: str
    document: Mapping[str, Any] | None = None
    silence: float | None = WORK_SECONDS
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the engine."""

    id: str
    names: tuple[str, ...]
    labels: Mapping[str, str]


class Response(Protocol):
    """A response of the engine, read piece by piece."""

    status: int

    def read(self) -> bytes: ...

    def read1(self, size: int, /) -> bytes: ...


# Sends a request, and closes its response after the block; RequestFailed where no engine answers.
# A connection that is lost then is an OSError.
Send = Callable[[Request], AbstractContextManager[Response]]


class Engine:
    """A container engine, which `send` reaches at `address`, from several threads at once."""

    def __init__(self, send: Send, address: str) -> None:
        self._send = send
        self._address = address

    def image(self, name: str) -> StoredImage | None:
        """Return an image; None where it does not exist."""
        try:
            return self._look_up(f"/images/{quote(name, safe='/:@')}/json", _image)
        except RequestFailed as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def images(self, names: Sequence[str]) -> Sequence[StoredImage]:
        """Return the images with one of these names. The engine computes their sizes as well."""
        query = urlencode({"filters": json.dumps({"reference": [*names]})})
        return self._ask(
            Request("GET", f"/images/json?{query}"),
            lambda rows: [_image_of(row, row) for row in _typed(rows, list)],
        )

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says of itself and of its machine."""
        return self._look_up("/info", lambda answer: _typed(answer, dict))

    def architecture(self) -> str:
        """Return Docker's name of the engine's architecture."""
        return self._look_up("/version", lambda answer: _typed(answer["Arch"], str))

    def create(self, name: str, document: Mapping[str, Any], platform: str) -> None:
        """Create a container, not started yet; NameConflict where another one has its name."""
        query = urlencode({"name": name, "platform": platform})
        try:
            self._tell(Request("POST", f"/containers/create?{query}", document))
        except RequestFailed as error:
            failure = NameConflict if error.status == HTTPStatus.CONFLICT else EngineError
            raise failure(f"no container of `{document['Image']}` can be made: {error}") from error

    def start(self, name: str) -> None:
        self._tell(Request("POST", f"/containers/{name}/start"))

    def kill(self, name: str) -> None:
        self._tell(Request("POST", f"/containers/{name}/kill"))

    def wait(self, name: str) -> int:
        """Wait for the end of a container; return its status."""
        request = Request("POST", f"/containers/{name}/wait", silence=None)
        return self._ask(request, lambda answer: _typed(answer["StatusCode"], int))

    def state(self, name: str) -> Mapping[str, Any]:
        """Return the state of a container."""
        path = f"/containers/{name}/json"
        return self._look_up(path, lambda answer: _typed(answer["State"], dict))

    def remove(self, name: str) -> None:
        """Kill and remove a container, if it exists."""
        with suppress(RequestFailed):  # an engine that is gone keeps nothing running
            self._tell(Request("DELETE", f"/containers/{name}?force=1"))

    def containers(self, label: str, **filters: str) -> Mapping[str, str]:
        """Return id -> value of a label, for all containers with it, and with other properties."""
        words = {key: [word] for key, word in {"label": label, **filters}.items()}
        query = urlencode({"all": 1, "filters": json.dumps(words)})
        return self._look_up(
            f"/containers/json?{query}",
            lambda rows: {
                _typed(row["Id"], str): _typed(row["Labels"][label], str)
                for row in _typed(rows, list)
            },
        )

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
        with _lost_connections(self._address), self._send(request) as response:
            _check(response, self._address)
            yield _frames(response, self._address)

    def _look_up(self, path: str, decode: Callable[[Any], T]) -> T:
        """Return what the engine answers at once."""
        return self._ask(Request("GET", path, limit=ANSWER_SECONDS), decode)

    def _ask(self, request: Request, decode: Callable[[Any], T]) -> T:
        """Return what `decode` makes of the document that answers a request."""
        content = self._tell(request)
        try:
            return decode(json.loads(content))
        except json.JSONDecodeError as error:
            raise RequestFailed(
                f"the engine at `{self._address}` went away amid its answer", hint=_DIAGNOSE
            ) from error
        except _WRONG_ANSWER as error:
            request_line = f"{request.method} {request.path.partition('?')[0]}"
            raise RequestFailed(
                f"`{self._address}` does not answer `{request_line}` as a container engine",
                hint=_DIAGNOSE,
            ) from error

    def _tell(self, request: Request) -> bytes:
        """Send a request; return the content of its answer."""
        with _lost_connections(self._address), self._send(request) as response:
            _check(response, self._address)
            return response.read()


# What decoding an answer of anything but an engine may raise: also numbers of too many digits.
_WRONG_ANSWER = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _image(answer: Any) -> StoredImage:
    return _image_of(answer, _optional(answer, "Config", dict))


def _image_of(answer: Any, labelled: Any) -> StoredImage:
    names = tuple(_typed(name, str) for name in _optional(answer, "RepoTags", list))
    return StoredImage(_typed(answer["Id"], str), names, _optional(labelled, "Labels", dict))


def _optional(answer: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Return a value of an answer, empty where there is none."""
    value = answer.get(key)
    return kind() if value is None else _typed(value, kind)


def _typed(value: Any, kind: type[T]) -> T:
    """Return a value of an answer; TypeError where it has another type."""
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is expected")
    return value


@contextmanager
def _lost_connections(address: str) -> Iterator[None]:
    """Raise RequestFailed where the connection to the engine is lost."""
    try:
        yield
    except TimeoutError as error:
        raise RequestFailed(
            f"the engine at `{address}` does not answer: {error}", hint=_DIAGNOSE
        ) from error
    except OSError as error:
        raise RequestFailed(
            f"the engine at `{address}` went away: {error}", hint=_DIAGNOSE
        ) from error


def _check(response: Response, address: str) -> None:
    """Raise RequestFailed where the engine refused a request."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return
    content = response.read()
    try:
        message = str(json.loads(content)["message"])
    except _WRONG_ANSWER:
        message = content.decode("utf-8", "replace") or f"status {response.status}"
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RequestFailed(
            f"the engine at `{address}` failed: {message}", response.status, hint=_DIAGNOSE
        )
    raise RequestFailed(message, response.status)


def _frames(stream: Response, address: str) -> Output:
    """Yield the frames of a multiplexed stream; those of a stream that come together as one,
    because each line of a log is a frame.

    https://docs.docker.com/reference/api/engine/version/v1.45/#tag/Container/operation/ContainerAttach
    """
    rest = b""
    while chunk := _next_chunk(stream, address):
        frames, rest = _split_frames(rest + chunk)
        for number, pieces in groupby(frames, itemgetter(0)):
            yield number, b"".join(piece for _, piece in pieces)


def _next_chunk(stream: Response, address: str) -> bytes:
    with _lost_connections(address):
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


def engine_at(path: str) -> Engine:
    """Return the engine that listens at a Unix socket."""

    @contextmanager
    def send(request: Request) -> Iterator[Response]:
        with _Connection(request) as connection:
            try:
                connection.connect(path)
            except OSError as error:
                raise no_answer(f"{path}: {error}") from error
            connection.sendall(_encoded(request))
            with connection.makefile("rb") as stream:
                yield _SocketResponse(stream)

    return Engine(send, path)


class _Connection(socket):
    """A connection for a request, with its limits."""

    def __init__(self, request: Request) -> None:
        super().__init__(AF_UNIX)
        self._limit, self._begin = request.limit, time.monotonic()
        self.settimeout(request.silence if request.limit is None else request.limit)

    def recv_into(self, *arguments: Any) -> int:
        if self._limit is None:
            return super().recv_into(*arguments)
        late = f"there was no whole answer in {self._limit:.0f} s"
        rest = self._begin + self._limit - time.monotonic()
        if rest <= 0:
            raise TimeoutError(late)
        self.settimeout(rest)
        try:
            return super().recv_into(*arguments)
        except TimeoutError as error:
            raise TimeoutError(late) from error


def _encoded(request: Request) -> bytes:
    """Return a request by HTTP/1.0, whose responses end with the connection. So the library for all
    of HTTP is not needed, which takes longer to import than the engine to answer."""
    body = b"" if request.document is None else json.dumps(request.document).encode()
    lines = (
        f"{request.method} /{_VERSION}{request.path} HTTP/1.0",
        "Host: docker",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body


class _SocketResponse:
    """A response by HTTP/1.0."""

    def __init__(self, stream: BufferedReader) -> None:
        words = stream.readline(_LONGEST_LINE).split(None, 2)
        if len(words) < 2 or not words[1].isdigit() or len(words[1]) != 3:
            raise ConnectionError("there was no answer")
        self.status = int(words[1])
        for _ in range(_MOST_HEADERS):  # of which none is needed
            if not stream.readline(_LONGEST_LINE).strip():
                break
        else:
            raise ConnectionError("there was no end of its headers")
        self.read, self.read1 = stream.read, stream.read1


def local_socket(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of the Unix socket that Docker's client would use; None where it would use
    something else, or a context."""
    if address := environment.get("DOCKER_HOST"):
        scheme, _, path = address.partition("://")
        return path if scheme == "unix" and path.startswith("/") else None
    context = environment.get("DOCKER_CONTEXT") or _configured_context(environment)
    return str(SOCKETS[0]) if context in ("", "default") else None


def _configured_context(environment: Mapping[str, str]) -> str | None:
    """Return the context of the configuration of Docker's client; None where it is unreadable."""
    file = client_directory(environment) / "config.json"
    try:
        return str(json.loads(file.read_bytes()).get("currentContext", ""))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError):
        return None
