"""Programs run to their end, with what they said kept for the error."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from envmatrix.errors import EnvmatrixError

_LAST_LINES = 20
_GRACE_SECONDS = 5


def run(
    command: Sequence[str],
    *,
    failing: type[EnvmatrixError],
    environment: Mapping[str, str] | None = None,
    hint: str | None = None,
    given: str = "",
    seconds: float | None = None,
) -> str:
    """stdout of `command`, to which stdin is `given`; `failing` with the end of its stderr where it
    is missing, fails or takes longer than `seconds`."""
    try:
        done = _run(command, environment, given, seconds)
    except FileNotFoundError as error:
        raise failing(
            f"`{command[0]}` is missing", hint=hint or "see `envmatrix doctor`"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise failing(
            f"`{command[0]}` was not done within {seconds:.0f} s",
            details=["timed out"],
            hint=hint,
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).splitlines()[-_LAST_LINES:]
        raise failing(
            f"`{command[0]}` failed with exit code {done.returncode}", details=said, hint=hint
        )
    return done.stdout


def _run(
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    given: str,
    seconds: float | None,
) -> subprocess.CompletedProcess[str]:
    """In a session of its own, so that nothing asks on the terminal, and all that was started ends
    with the program."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(given, seconds)
        except BaseException:
            _end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _end(process: subprocess.Popen[str]) -> None:
    """With what it started; it may first clean up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(_GRACE_SECONDS)
