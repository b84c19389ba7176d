"""Commands of the library itself, each a test. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from envmatrix.sessions.frameworks.base import Batch, Framework, Invocation


class Commands(Framework):
    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        return [Batch(["true"], None, command) for command in invocation.run]

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        return (batch.program,)

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        more = "".join(f" {shlex.quote(argument)}" for argument in invocation.arguments)
        return [
            Batch(["bash", "-euo", "pipefail", "-c", f"{command}{more}"], None, command)
            for command in dict.fromkeys(invocation.run)
            if invocation.selected is None or command in invocation.selected
        ]
