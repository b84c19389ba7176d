"""Requests to servers: the client, which errors are worth a repetition, and messages for them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import TypeVar

import httpx

from envmatrix.errors import Absent, LookupFailed
from envmatrix.machine.access import Access
from envmatrix.machine.origins import Origins
from envmatrix.records import dataclass
from envmatrix.retries import retry

T = TypeVar("T")

GONE = frozenset({404, 410})
_REFUSED = {401, 403, 407}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE_SECONDS = 60.0
_CHUNK = 1 << 20
# An offset and a number of bytes.
_Span = tuple[int, int]
# The limit of a response in memory, in bytes.
_MOST_BYTES = 1 << 28


@contextmanager
def http_client(origins: Origins | None = None) -> Iterator[httpx.Client]:
    """Yield a client that reaches each server like apt and pip on this machine."""
    route = AccessTransport((origins or Origins()).access)
    timeout = httpx.Timeout(30, connect=10)
    with httpx.Client(transport=route, timeout=timeout, follow_redirects=True) as client:
        yield client


class AccessTransport(httpx.BaseTransport):
    """A transport that sends each request by the proxy and certificates of its host."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._transports: dict[tuple[str | None, bool], httpx.HTTPTransport] = {}
        self._making = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._sign(request)
        way = self._access.proxy(request.url), self._access.is_trusted(request.url)
        with self._making:
            if way not in self._transports:
                self._transports[way] = self._transport(way[0], is_trusted=way[1])
        return self._transports[way].handle_request(request)

    def _sign(self, request: httpx.Request) -> None:
        """Add the login for the server. The password of a user without one is in a keyring."""
        user, _, password = _credentials(request)
        if not user and not password:
            user, password = self._access.login(request.url) or ("", "")
        if user and not password:
            password = self._access.password(request.url, user) or ""
        if user:
            request.headers["Authorization"] = basic_authorization(user, password)

    def _transport(self, proxy: str | None, *, is_trusted: bool) -> httpx.HTTPTransport:
        try:
            url = proxy if proxy is None or "://" in proxy else f"http://{proxy}"
            verify = False if is_trusted else self._access.context
            return httpx.HTTPTransport(verify=verify, proxy=url)
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            settings = "`apt-config dump Acquire`, `pip config list` and $https_proxy"
            message = f"the proxy `{proxy}` is not supported: {error}"
            raise LookupFailed(message, hint=f"HTTP proxies are; see {settings}") from error

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


def basic_authorization(user: str, password: str) -> str:
    """Return the value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _credentials(request: httpx.Request) -> tuple[str, str, str]:
    header = request.headers.get("Authorization", "")
    try:
        return base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    except ValueError:
        return "", "", header


def retry_request(
    action: Callable[[], T],
    sleep: Callable[[float], None],
    is_transient: Callable[[Exception], bool] = lambda _: False,
) -> T:
    """Return the result of `action`, repeated on transient errors of servers, and on those that
    `is_transient` accepts, after the pause that a server asks for, or a longer one."""

    def least_pause(error: Exception) -> float | None:
        return _retry_after(error) if _is_transient(error) or is_transient(error) else None

    return retry(action, least_pause, sleep)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _TRANSIENT
    return isinstance(error, httpx.TransportError)


def _retry_after(error: Exception) -> float:
    """Return the pause in seconds of a `Retry-After` header, up to a limit."""
    if not isinstance(error, httpx.HTTPStatusError):
        return 0
    header = error.response.headers.get("Retry-After", "")
    return min(float(header), _LONGEST_PAUSE_SECONDS) if header.isdecimal() else 0


def message_of(error: BaseException) -> str:
    """Return the status of a response, or the reason why there is none."""
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        return f"{response.status_code} {response.reason_phrase}".strip()
    return str(error) or type(error).__name__


def is_unreachable(error: Exception) -> bool:
    """Return whether there was no connection: it was refused, or the name of the server does not
    resolve."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def is_absence(error: Exception) -> bool:
    """Return whether a server answered that it does not have the file."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in GONE
    return isinstance(error, Absent)


def hint_of(errors: Sequence[Exception]) -> str | None:
    """Return a hint for the errors of servers; None where all are absences."""
    causes = [*errors, *(error.__cause__ for error in errors)]
    codes = {
        cause.response.status_code for cause in causes if isinstance(cause, httpx.HTTPStatusError)
    }
    if codes & _REFUSED:
        return (
            "a login is missing or wrong: apt's auth.conf, ~/.netrc, or user and password in the "
            "URL of pip's index or of [mirrors] in your configuration have it"
        )
    if any(isinstance(cause, httpx.TransportError) for cause in causes):
        return (
            "is the network there, and the proxy right? see `apt-config dump Acquire`, "
            "`pip config list` and $https_proxy"
        )
    return "the server fails: try again later" if codes - GONE else None


class WrongContent(Exception):
    """A location has other content than expected; another one may have the right one."""


@dataclass
class FailedAttempts:
    """Locations, empty where unknown, each with the error of the attempt to download from it."""

    rows: list[tuple[str, Exception]] = field(default_factory=list)

    def add(self, location: str, error: Exception) -> None:
        self.rows.append((location, error))

    @property
    def errors(self) -> tuple[Exception, ...]:
        return tuple(error for _, error in self.rows)

    @property
    def details(self) -> tuple[str, ...]:
        return tuple(
            f"{location}: {message_of(error)}" if location else message_of(error)
            for location, error in self.rows
        )

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories of the locations."""
        return tuple(url.rpartition("/")[0] or url for url, _ in self.rows if url)


def read_body(
    client: httpx.Client, url: str, *, accept: str = "*/*", most: int = _MOST_BYTES
) -> tuple[httpx.URL, bytes]:
    """Return the final URL and the content; WrongContent where it has more bytes than `most`."""
    content = bytearray()
    with client.stream("GET", url, headers={"Accept": accept}) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes(_CHUNK):
            content += chunk
            if len(content) > most:
                raise WrongContent(f"it has more than {most >> 20} MiB")
    return response.url, bytes(content)


def stream_range(client: httpx.Client, url: str, span: _Span, size: int) -> Iterator[bytes]:
    """Yield the bytes at a span of a file that has `size` bytes; WrongContent where the server
    answers with others, or with the whole file."""
    offset, length = span
    position = f"{offset}-{offset + length - 1}"
    headers = {"Range": f"bytes={position}", "Accept-Encoding": "identity"}
    with client.stream("GET", url, headers=headers) as response:
        response.raise_for_status()
        answer = response.headers.get("Content-Range", "")
        is_partial = response.status_code == httpx.codes.PARTIAL_CONTENT
        if not is_partial or answer not in (f"bytes {position}/{size}", f"bytes {position}/*"):
            status = f"{response.status_code} {answer}".strip()
            raise WrongContent(f"it does not answer with bytes {position} of {size}: {status}")
        for chunk in response.iter_bytes(_CHUNK):
            length -= len(chunk)
            if length < 0:
                raise WrongContent(f"it answers with more than bytes {position}")
            yield chunk
