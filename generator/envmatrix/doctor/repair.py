"""Carries out the steps that `diagnosis` planned."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from envmatrix.doctor.findings import RepairStep
from envmatrix.errors import EngineError
from envmatrix.machine.error_texts import refuses_user
from envmatrix.machine.host import daemon_pid, docker_info, root_path
from envmatrix.records import dataclass

START_SECONDS = 60
SHOWN_LINES = 12


def engine_answers() -> bool:
    """Return whether an engine runs; one that refuses this user must not be started again."""
    docker = docker_info(root_path(os.environ))
    return docker.engine is not None or refuses_user(docker.error)


@dataclass(frozen=True, slots=True)
class Daemon:
    """The start of this machine's engine."""

    log: Path
    answers: Callable[[], bool] = engine_answers
    pid: Callable[[], int | None] = daemon_pid

    def start(self, argv: Sequence[str]) -> None:
        """Start the engine unless it runs: two daemons break each other's network."""
        if self.answers():
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as output:
            starter = None if self.pid() else _detach(argv, output.fileno())
        if not self._wait(starter):
            hint = f"its log is `{self.log}`, or `journalctl -u docker` where systemd started it"
            details = self.log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
            raise EngineError("the container engine does not answer", hint=hint, details=details)
        if starter is not None:
            starter.returncode = 0  # Python would warn of a child that is meant to outlive us.

    def _wait(self, starter: subprocess.Popen[bytes] | None) -> bool:
        """Return whether the engine answers in time; stop waiting where `starter` failed."""
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            has_failed = starter is not None and starter.poll() not in (None, 0)
            if has_failed or time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True


def apply(steps: Sequence[RepairStep], daemon: Daemon, *, say: Callable[[str], None]) -> None:
    for step in steps:
        if step.unless and Path(step.unless).exists():
            continue
        say(step.words)
        if step.starts_engine:
            daemon.start(step.argv)
        else:
            _run(step)


def _run(step: RepairStep) -> None:
    done = subprocess.run(
        step.argv,
        input=step.stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=_environment(),
    )
    if done.returncode:
        message = f"{step.words} failed with exit code {done.returncode}"
        hint = f"run it by hand: `{' '.join(step.argv)}`"
        raise EngineError(message, hint=hint, details=done.stdout.splitlines()[-SHOWN_LINES:])


def _detach(argv: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": root_path(os.environ)}
