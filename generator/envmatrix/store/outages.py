"""Servers that cannot be reached: each is reported once, and not tried again in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field
from functools import partial

import httpx

from envmatrix.errors import LookupFailed
from envmatrix.machine.http import is_unreachable, message_of
from envmatrix.records import dataclass
from envmatrix.text import redacted

# The errors of the servers that this process could not reach.
_OF_PROCESS: dict[str, Exception] = {}

# Makes the context of one attempt to reach a server.
Attempt = Callable[[], AbstractContextManager[None]]


class NoConnection(LookupFailed):
    """A server cannot be reached; others may have the file."""


@dataclass(eq=False)
class Outages:
    """Servers with the errors of connections to them; `warn` reports a new one."""

    warn: Callable[[str], None] = lambda _: None
    errors: dict[str, Exception] = field(default_factory=dict)

    @classmethod
    def of_process(cls, warn: Callable[[str], None]) -> Outages:
        return cls(warn, _OF_PROCESS)

    def attempts(
        self, servers: Sequence[str], *, has_others: bool = False
    ) -> Iterator[tuple[str, Attempt]]:
        """Yield servers in their order, each with the context of an attempt: `reaching` if another
        one follows, of these or because there are others. The last one is tried every time."""
        for number, server in enumerate(servers, 1):
            is_last = number == len(servers) and not has_others
            yield server, nullcontext if is_last else partial(self.reaching, server)

    @contextmanager
    def reaching(self, server: str) -> Iterator[None]:
        """Raise NoConnection if the server cannot be reached in the block; without an attempt, if
        it could not be before."""
        if error := self.errors.get(server):
            raise NoConnection(message_of(error)) from error
        try:
            yield
        except (httpx.TransportError, LookupFailed) as error:
            cause = error.__cause__ if isinstance(error, LookupFailed) else error
            if not isinstance(cause, Exception) or not is_unreachable(cause):
                raise
            self._add(server, cause)
            raise NoConnection(message_of(cause)) from cause

    def _add(self, server: str, error: Exception) -> None:
        if self.errors.setdefault(server, error) is error:
            name, reason = redacted(server), message_of(error)
            self.warn(f"`{name}` cannot be reached ({reason}): other servers are used")
