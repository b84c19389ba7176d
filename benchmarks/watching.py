"""Programs that are watched while they run: their output, with the time of each line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the output, in seconds after the start."""

    seconds: float
    text: str


@contextmanager
def running(
    argv: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run a command to its end; whatever happens, none of its processes is left."""
    process = subprocess.Popen(
        argv,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
        if process.wait():
            sys.exit(f"{' '.join(argv)} ended with {process.returncode}")
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_SECONDS)


def lines(process: subprocess.Popen[str], started: float) -> Iterator[Line]:
    """Yield and show the output as it comes."""
    assert process.stdout
    for text in process.stdout:
        line = Line(time.monotonic() - started, text.rstrip())
        print(f"{line.seconds:6.1f} {line.text}", file=sys.stderr, flush=True)
        yield line
