"""The client of the container engine, docker-py, with a remedy for each of its peculiarities.

Other modules use the client as its documentation says.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from envmatrix.engine.engine_api import (
    ANSWER_SECONDS,
    TRANSFER_SECONDS,
    Engine,
    Request,
    Response,
    engine_at,
    local_socket,
    longest_silence,
    no_answer,
)
from envmatrix.errors import EngineError
from envmatrix.machine.remedies import SET_UP

if TYPE_CHECKING:
    import docker
    import requests
    from docker.models.containers import Container
    from docker.models.images import Image

Event = Mapping[str, Any]

# docker-py has a pool of connections for each URL, and closes the oldest one, even if it is in use.
# The names of containers are in URLs, and many run at once.
POOLS = 4096
# The timeout that requests get which have none of their own, told from others by its identity.
_OF_ITS_KIND = float(TRANSFER_SECONDS)
_VERSION = re.compile(r"/v[\d.]+(?=/)")
# How long to wait for the end of a request; one without a response cannot be cancelled.
_PARTING_SECONDS = 1.0

# The variables of https://docs.docker.com/engine/cli/proxy/.
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
PROXY_VARIABLES = (*map(str.upper, _PROXIES), *_PROXIES)

# A signal that does nothing but wake a thread.
_WAKE = signal.SIGURG


@contextmanager
def connect() -> Iterator[docker.DockerClient]:
    """Yield a client of the engine that the environment names; EngineError where none answers."""
    import docker  # 0.2 s that listing and explaining never pay
    import requests
    from docker.utils import kwargs_from_env

    try:
        # It asks for the version of the engine.
        client = docker.DockerClient(
            **kwargs_from_env(environment=dict(os.environ)),
            timeout=ANSWER_SECONDS,
            num_pools=POOLS,
        )
    except docker.errors.DockerException as error:
        path = local_socket()
        raise no_answer(f"{path}: {error}" if path else str(error)) from error
    limit_silence(client)
    try:
        yield client
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise EngineError(f"the container engine failed: {error}") from error
    finally:
        client.close()


def limit_silence(client: docker.DockerClient) -> None:
    """Have each request of a client end after the silence that is too long for its kind: docker-py
    has one timeout for all that have none of their own, and none for a pull."""
    api: Any = client.api  # a session of requests
    send = api.request

    def send_limited(method: str, url: str, **options: Any) -> requests.Response:
        silence = longest_silence(method, _VERSION.sub("", urlsplit(url).path, count=1))
        timeout = options.get("timeout")
        if timeout is _OF_ITS_KIND or (timeout is None and silence == TRANSFER_SECONDS):
            options["timeout"] = silence
        response: requests.Response = send(method, url, **options)
        return response

    api.timeout, api.request = _OF_ITS_KIND, send_limited


@contextmanager
def open_engine() -> Iterator[Engine]:
    """Yield the engine that the environment names, at its socket where that is a local one."""
    path = local_socket()
    if path is not None:
        yield engine_at(path)
        return
    with connect() as client:
        yield engine_of(client)


def engine_of(client: docker.DockerClient) -> Engine:
    """Return the engine of a client."""
    api: Any = client.api  # a session of requests

    @contextmanager
    def send(request: Request) -> Iterator[Response]:
        url = f"{api.base_url}/v{api.api_version}{request.path}"
        silence = request.silence if request.limit is None else request.limit
        options = {"json": request.document, "timeout": silence, "stream": True}
        with api.request(request.method, url, **options) as response:
            yield _SessionResponse(response)

    return Engine(send, api.base_url)


class _SessionResponse:
    """A response of a session of requests, whose errors while it is read are those of urllib3."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self._raw = response.raw

    def read(self) -> bytes:
        return self._checked(self._raw.read)

    def read1(self, size: int, /) -> bytes:
        return self._checked(self._raw.read1, size)

    def _checked(self, read: Callable[..., bytes], *size: int) -> bytes:
        from urllib3.exceptions import HTTPError

        try:
            return read(*size)
        except HTTPError as error:
            raise ConnectionError(str(error)) from error


@contextmanager
def program_required() -> Iterator[None]:
    """Raise EngineError where the block starts the program `docker`, and it is missing."""
    try:
        yield
    except FileNotFoundError as error:
        raise EngineError("`docker` is missing", hint=SET_UP) from error


def without_proxies(option: str) -> Sequence[str]:
    """Return arguments of the program `docker` that unset all proxies: `env` of a container,
    `build-arg` of a build. Like docker-py, it passes those of its configuration on."""
    return tuple(f"--{option}={name}=" for name in PROXY_VARIABLES)


@contextmanager
def temporary_container(
    client: docker.DockerClient, image: str, **options: Any
) -> Iterator[Container]:
    """Create a container, not started yet, that is removed after the block."""
    # Its name is ours, so that it can be removed while it is being created.
    name = f"envmatrix-{uuid.uuid4().hex[:12]}"
    try:
        yield new_container(client, image, name=name, **options)
    finally:
        remove_container(client, name)


def new_container(client: docker.DockerClient, image: str, **options: Any) -> Container:
    """Create a container, not started yet.

    It has none of the proxies in the configuration of Docker's client, which docker-py passes on
    by default (https://github.com/docker/docker-py/pull/2332): they may have passwords, and are
    unreachable without a network.
    """
    from docker.errors import DockerException

    try:
        return client.containers.create(image, use_config_proxy=False, **options)
    except DockerException as error:
        raise EngineError(f"no container of `{image}` can be made: {error}") from error


def remove_container(client: docker.DockerClient, name: str) -> None:
    """Kill and remove a container, if it exists."""
    from docker.errors import DockerException

    with suppress(DockerException, OSError):  # an engine that is gone keeps nothing running
        client.api.remove_container(name, force=True)


def all_images(client: docker.DockerClient) -> Iterator[Image]:
    """Yield the images of the engine.

    docker-py's own list inspects each as well, but fails for one that is removed meanwhile:
    https://github.com/docker/docker-py/issues/2341
    """
    from docker.errors import ImageNotFound

    for row in client.api.images():
        with suppress(ImageNotFound):
            yield client.images.get(row["Id"])


def follow_events(
    client: docker.DockerClient,
    request: Callable[[], Iterable[Event]],
    patience: Callable[[], float],
) -> Generator[Event, None, None]:
    """Yield the events of `request`, a streaming request of `client`.

    EngineError where it fails, TimeoutError where no event comes within the seconds that `patience`
    returns at that moment. The request ends with the iteration: docker-py has no way to cancel a
    push or a pull, so the connection of its response is shut down.
    """
    events: SimpleQueue[Event | Exception | None] = SimpleQueue()
    responses: list[Any] = []

    def read() -> None:
        try:
            for event in request():
                events.put(event)
        except Exception as error:
            events.put(error)
        events.put(None)

    def note(response: Any, *_: Any, **__: Any) -> None:
        if threading.get_ident() == reader.ident:
            responses.append(response)

    reader = threading.Thread(target=read, daemon=True)
    client.api.hooks["response"].append(note)
    reader.start()
    try:
        while (event := events.get(timeout=patience())) is not None:
            if isinstance(event, Exception):
                raise _request_error(event) from event
            yield event
    except Empty as error:
        raise TimeoutError from error
    finally:
        client.api.hooks["response"].remove(note)
        for response in responses:
            with suppress(ValueError, RuntimeError):  # it has ended already
                response.raw.shutdown()
        reader.join(_PARTING_SECONDS)


def _request_error(error: Exception) -> Exception:
    """Return an error of a request as EngineError: docker-py passes those of requests on."""
    import docker
    import requests

    if isinstance(error, docker.errors.APIError):
        return EngineError(str(error.explanation or error))
    if isinstance(error, requests.RequestException):
        return EngineError(f"the engine went away: {error}")
    return error


def waker_of_main_thread() -> Callable[[], None]:
    """Return a function that wakes the main thread, so that it handles the signals of the program.

    docker-py waits for output without a limit of time. Handlers run in the main thread only: a
    signal that came just before it began to wait, or that the kernel gave to another thread, is
    handled when something else wakes it.
    https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers
    """
    main_thread = cast("int", threading.main_thread().ident)
    if threading.get_ident() == main_thread:
        signal.signal(_WAKE, lambda *_: None)
    return lambda: signal.pthread_kill(main_thread, _WAKE)
