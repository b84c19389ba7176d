"""Programs to run in containers, and the interface of what executes them, on this machine or
elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from envmatrix.confined import Area

# The exit code of a program that was stopped at its time limit, as of coreutils' `timeout`.
TIMED_OUT = 124

Stop = Literal["timeout", "disk", "output"]
# Called with the output of a program as it comes: 0 for standard output or 1 for standard error,
# and some bytes.
OnOutput = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory at `target` in a container: an input, or an area that takes outputs. Only
    areas are writable."""

    source: Path | Area
    target: str

    @property
    def read_only(self) -> bool:
        return not isinstance(self.source, Area)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a container: seconds, bytes of memory, and bytes that have to stay free on disks
    that it writes to; None is unlimited. `shared_memory` is the size of /dev/shm in bytes, half of
    `memory` where None."""

    seconds: float | None = None
    memory: int | None = None
    free_disk: int | None = None
    shared_memory: int | None = None

    def exceeded(self, seconds: float, free_disk: float) -> Stop | None:
        """Return the limit that a container exceeds after `seconds` on disks with `free_disk`."""
        if self.seconds is not None and seconds > self.seconds:
            return "timeout"
        return "disk" if self.free_disk is not None and free_disk < self.free_disk else None


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs for a program: those of a qualified CDI device, such as `nvidia.com/gpu=0`, or all that
    there are."""

    device: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A program to run in an image, and everything that it may access."""

    image: str
    platform: str
    command: Sequence[str]
    mounts: Sequence[Mount]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    gpus: Gpus | None = None
    limits: Limits = Limits()
    keeps_stdout: bool = False

    @property
    def outputs(self) -> tuple[Area, ...]:
        """Areas that have what the program wrote once it has ended."""
        return tuple(mount.source for mount in self.mounts if isinstance(mount.source, Area))


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The end of a task. `stdout` is empty unless the task has `keeps_stdout`; `stopped` is the
    limit at which it was killed; `out_of_memory`: the kernel killed a process."""

    status: int
    stdout: str = ""
    stopped: Stop | None = None
    out_of_memory: bool = False


class Executor(Protocol):
    """Runs tasks."""

    def run(self, task: Task, on_output: OnOutput) -> TaskResult:
        """Run a task to its end and pass its output to `on_output`; child processes end too.
        EngineError where it cannot be started, or the executor fails."""
