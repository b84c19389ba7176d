"""Files of origins that no lock names, such as listings, manifests and keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import httpx

from envmatrix.errors import Absent, LookupFailed
from envmatrix.machine.configuration import NVIDIA
from envmatrix.machine.http import (
    FailedAttempts,
    WrongContent,
    hint_of,
    is_absence,
    read_body,
    retry_request,
)
from envmatrix.records import dataclass
from envmatrix.store.outages import Attempt, NoConnection, Outages


@dataclass(frozen=True, slots=True)
class UnlockedFiles:
    """Reads files at `bases`, of the first one that has each."""

    client: httpx.Client
    bases: Sequence[str]
    outages: Outages
    sleep: Callable[[float], None] = time.sleep

    def read(self, path: str) -> bytes:
        """Return the bytes at `path`, unverified; raise LookupFailed if no server has it."""
        failed = FailedAttempts()
        for base, attempt in self.outages.attempts(self.bases):
            url = f"{base}/{path}"
            try:
                return self._read(url, attempt)
            except (httpx.HTTPError, httpx.InvalidURL, WrongContent, NoConnection) as error:
                failed.add(url, error)
        if all(map(is_absence, failed.errors)):
            hint = f"mirrors go under [mirrors] {NVIDIA} in your configuration"
            raise Absent(f"no server has `{path}`", details=failed.details, hint=hint)
        raise LookupFailed(
            f"`{path}` cannot be read", details=failed.details, hint=hint_of(failed.errors)
        )

    def _read(self, url: str, attempt: Attempt) -> bytes:
        def once() -> bytes:
            with attempt():
                return read_body(self.client, url)[1]

        return retry_request(once, self.sleep)
