"""Programs run to their end, with the end of their output in errors."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from envmatrix.errors import EnvmatrixError
from envmatrix.parallel import INTERRUPTION

_LAST_LINES = 20
_GRACE_SECONDS = 5


def run(
    command: Sequence[str],
    *,
    failing: type[EnvmatrixError],
    environment: Mapping[str, str] | None = None,
    hint: str | None = None,
    stdin: str = "",
    seconds: float | None = None,
) -> str:
    """Return the stdout of `command`, given `stdin`; raise `failing` with the end of its output,
    stderr last, where it is missing, fails or takes longer than `seconds`."""
    program = f"`{command[0]}`"
    try:
        done = complete(command, environment, stdin, seconds)
    except FileNotFoundError as error:
        raise failing(f"{program} is missing", hint=hint or "see `envmatrix doctor`") from error
    except subprocess.TimeoutExpired as error:
        message = f"{program} was not done within {seconds:.0f} s"
        raise failing(message, details=["timed out"], hint=hint) from error
    if done.returncode:
        message = f"{program} failed with exit code {done.returncode}"
        details = [*done.stdout.splitlines(), *done.stderr.splitlines()][-_LAST_LINES:]
        raise failing(message, details=details, hint=hint)
    return done.stdout


def complete(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end, whatever its exit code, in a session of its own: nothing prompts on
    the terminal, and child processes end with it. Its output is as it wrote it: names of files may
    have any line breaks."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            with INTERRUPTION.ending(partial(_end, process)):
                written = process.communicate(stdin.encode("utf-8", "surrogateescape"), seconds)
        except BaseException:
            _end(process)
            raise
    stdout, stderr = (part.decode("utf-8", "surrogateescape") for part in written)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, after a grace period to clean up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(_GRACE_SECONDS)
