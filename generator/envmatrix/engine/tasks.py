"""Programs to run in containers, and the interface of what executes them, on this machine or
elsewhere. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from envmatrix.confined import Area
from envmatrix.errors import Cancelled, EngineError
from envmatrix.records import dataclass
from envmatrix.text import one_line

# The exit code of a program that was stopped at its time limit, as of coreutils' `timeout`.
TIMED_OUT = 124

Stop = Literal["timeout", "disk", "output"]
Phase = Literal["queued", "running", "ended"]
# Called with the output of a program as it comes: 0 for standard output or 1 for standard error,
# and some bytes.
OnOutput = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory at `target` in a container: an input, or an area that takes outputs. Only
    areas are writable. Where a directory has to be copied, entries of it that are `left_out` are
    not."""

    source: Path | Area
    target: str
    left_out: tuple[str, ...] = ()

    @property
    def read_only(self) -> bool:
        return not isinstance(self.source, Area)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a container: seconds, bytes of memory, and bytes that have to stay free on disks
    that it writes to; None is unlimited. `shared_memory` is the size of /dev/shm in bytes, half of
    `memory` where None. `processors` are as many as it keeps busy, for who schedules it."""

    seconds: float | None = None
    memory: int | None = None
    free_disk: int | None = None
    shared_memory: int | None = None
    processors: float | None = None

    def exceeded(self, seconds: float, free_disk: float) -> Stop | None:
        """Return the limit that a container exceeds after `seconds` on disks with `free_disk`."""
        if self.seconds is not None and seconds > self.seconds:
            return "timeout"
        return "disk" if self.free_disk is not None and free_disk < self.free_disk else None


class NodeLabel(NamedTuple):
    """A condition for the label of a node in a cluster, such as `("Gt", ("7",))`: the operators are
    those of Kubernetes."""

    name: str
    operator: Literal["In", "Gt"]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs for a program: those of a qualified CDI device, such as `nvidia.com/gpu=0`, or all that
    there are, or of these the ones with the indices `chosen`. In a cluster, it gets `count`, on a
    node that fulfils all conditions of one of the `nodes`."""

    device: str | None = None
    chosen: tuple[str, ...] = ()
    count: int | None = None
    nodes: tuple[tuple[NodeLabel, ...], ...] = ()


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
    """Runs tasks, each under a key, from several threads at once.

    A key is known from its submission until its result is collected or it is cancelled. `watch`,
    `logs` and `collect` raise EngineError for one that is not known, and Cancelled for one that was
    cancelled. Every method raises EngineError where the executor fails.
    """

    def submit(self, key: str, task: Task) -> None:
        """Start a task. One that was submitted under this key with the same inputs is adopted: it
        never runs twice at once, nor again if its result is there. EngineError where it cannot be
        started."""

    def watch(self, key: str) -> Iterator[Phase]:
        """Yield the phase of a task, and each one after it, to its end."""

    def logs(self, key: str, on_output: OnOutput) -> None:
        """Pass the output of a task to `on_output` until it ends: all that was not passed before,
        from the beginning. A task may wait while nobody takes its output."""

    def cancel(self, key: str) -> None:
        """Stop a task at once and remove what remains of it, if it is known."""

    def collect(self, key: str) -> TaskResult:
        """Wait for the end of a task, bring its outputs into the areas of the task, and return its
        result; what remains is removed soon after. Child processes end before."""

    def stop(self) -> None:
        """Cancel all tasks of this executor, and refuse others with Cancelled: for Ctrl-C."""


def run(executor: Executor, key: str, task: Task, on_output: OnOutput) -> TaskResult:
    """Run a task to its end and pass its output to `on_output`; it is cancelled on any error."""
    try:
        executor.submit(key, task)
        executor.logs(key, on_output)
        return executor.collect(key)
    except BaseException:
        with suppress(EngineError):  # the first error tells more
            executor.cancel(key)
        raise


# As much of a hash as fits into the names of containers and of objects of Kubernetes.
_KEY_LENGTH = 40
_KEY = re.compile(rf"[0-9a-z]{{1,{_KEY_LENGTH}}}")


def key_of(job: str, number: int, task: Task) -> str:
    """Return the key of a task of a job: its `number` in order, and what it does. What it reads
    counts as well where a task is adopted, and is not part of its key."""
    words = (job, number, task.image, [*task.command], sorted(task.environment.items()))
    document = json.dumps([*words, task.directory])
    return hashlib.sha256(document.encode("utf-8", "surrogateescape")).hexdigest()[:_KEY_LENGTH]


def checked_key(key: str) -> str:
    """Return a key that may be part of a name; ValueError for any other text."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"no key of a task: {key[:99]!r}")
    return key


def unknown_task(key: str) -> EngineError:
    return EngineError(f"there is no task `{one_line(key)}`: it was collected or not submitted")


def cancelled_task(key: str) -> Cancelled:
    return Cancelled(f"the task `{one_line(key)}` was cancelled")
