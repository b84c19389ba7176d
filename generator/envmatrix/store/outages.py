"""Mirrors that cannot be reached: each is reported once, and not tried again in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field

import httpx

from envmatrix.errors import LookupFailed
from envmatrix.machine.http import is_unreachable, message_of
from envmatrix.records import dataclass
from envmatrix.text import redacted

# The errors of the mirrors that this process could not reach.
_OF_PROCESS: dict[str, Exception] = {}


class NoConnection(LookupFailed):
    """A mirror cannot be reached; others may have the file."""


@dataclass(eq=False)
class Outages:
    """Mirrors with the errors of connections to them; `warn` reports a new one."""

    warn: Callable[[str], None] = lambda _: None
    errors: dict[str, Exception] = field(default_factory=dict)

    @classmethod
    def of_process(cls, warn: Callable[[str], None]) -> Outages:
        return cls(warn, _OF_PROCESS)

    def read(self, mirror: str, chunks: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
        """Yield the bytes of a file of a mirror; NoConnection, without another attempt, if it
        cannot be reached, or could not be before."""
        if error := self.errors.get(mirror):
            raise NoConnection(message_of(error)) from error
        try:
            yield from chunks()
        except (httpx.TransportError, LookupFailed) as error:
            cause = error.__cause__ if isinstance(error, LookupFailed) else error
            if not isinstance(cause, Exception) or not is_unreachable(cause):
                raise
            self._add(mirror, cause)
            raise NoConnection(message_of(cause)) from cause

    def _add(self, mirror: str, error: Exception) -> None:
        if self.errors.setdefault(mirror, error) is error:
            name, reason = redacted(mirror), message_of(error)
            self.warn(
                f"the mirror `{name}` cannot be reached ({reason}): the usual servers are used"
            )
