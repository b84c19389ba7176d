"""Requests to servers: the client, which errors are worth a repetition, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import httpx

from envmatrix.errors import Absent
from envmatrix.machine.access import AccessTransport
from envmatrix.machine.origins import Origins
from envmatrix.retries import retry

T = TypeVar("T")

GONE = frozenset({404, 410})
_REFUSED = {401, 403, 407}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE_SECONDS = 60.0


@contextmanager
def http_client(origins: Origins | None = None) -> Iterator[httpx.Client]:
    """Yield a client that reaches each server like apt and pip on this machine."""
    route = AccessTransport((origins or Origins()).access)
    timeout = httpx.Timeout(30, connect=10)
    with httpx.Client(transport=route, timeout=timeout, follow_redirects=True) as client:
        yield client


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


def message_of(error: Exception) -> str:
    """Return the status of a response, or the reason why there is none."""
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        return f"{response.status_code} {response.reason_phrase}".strip()
    return str(error) or type(error).__name__


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
