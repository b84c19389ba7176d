"""Programs run to their end, with what they said kept for the error."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from envmatrix.errors import EnvmatrixError

_LAST_LINES = 20


def run(
    command: Sequence[str],
    *,
    failing: type[EnvmatrixError],
    environment: Mapping[str, str] | None = None,
    hint: str | None = None,
) -> str:
    """stdout of `command`; `failing` with the end of its stderr where it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, check=False
        )
    except FileNotFoundError as error:
        raise failing(
            f"`{command[0]}` is missing", hint=hint or "see `envmatrix doctor`"
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).splitlines()[-_LAST_LINES:]
        raise failing(
            f"`{command[0]}` failed with exit code {done.returncode}", details=said, hint=hint
        )
    return done.stdout
