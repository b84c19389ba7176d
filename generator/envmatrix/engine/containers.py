"""Runs programs in containers: no network, no privileges, as the calling user, and nothing
left behind however it ends."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from math import inf
from pathlib import Path
from typing import Any

from envmatrix.engine import docker_client
from envmatrix.engine.engine_api import Engine, NameConflict, RequestFailed
from envmatrix.engine.submissions import Submissions
from envmatrix.engine.tasks import (
    TIMED_OUT,
    Mount,
    OnOutput,
    Phase,
    Stop,
    Task,
    TaskResult,
    cancelled_task,
)
from envmatrix.errors import EngineError
from envmatrix.files import readable_text, write_whole
from envmatrix.machine.cache import cache_directory
from envmatrix.parallel import run_parallel
from envmatrix.records import dataclass

LABEL = "envmatrix.run"
# The process that waits for a container: its machine, its id and its start time.
_OWNER = "envmatrix.owner"
# The limit of standard output kept in memory, in bytes.
_MOST_STDOUT = 64 << 20
# How long the remaining output of a killed container is read.
_PARTING_SECONDS = 1.0
# The host name of a container, which resolves in it.
_HOST_NAME = "envmatrix"
# Memory that processes share (/dev/shm) where nothing else is known. The engine's own 64 MB do not
# suffice for NCCL, nor for the workers of PyTorch's loaders.
_SHARED_MEMORY = 1 << 30
_MOST_PROCESSES = 16_384
_LOOK_SECONDS = 0.5
_STOPPED_AT_ONCE = 16

# The same on every machine, so that no name of a person gets into build outputs.
_USER_NAME = "envmatrix"
_HOME = "/tmp"  # noqa: S108 -- in memory, of the container alone

# Users and groups of every image, by the ids that distributions agree on.
_USERS = {
    0: "root:x:0:0:root:/root:/bin/sh",
    1: "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    2: "bin:x:2:2:bin:/bin:/usr/sbin/nologin",
    65534: "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
}
_GROUPS = {0: "root:x:0:", 1: "daemon:x:1:", 2: "bin:x:2:", 65534: "nogroup:x:65534:"}


class Containers:
    """Executes tasks on the local engine, in a container each, which belongs to this process: it
    takes the output and watches the limits, so nothing could adopt a container without it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._executions: Submissions[Execution] = Submissions()
        self._removals: dict[str, threading.Thread] = {}

    def submit(self, key: str, task: Task) -> None:
        if removal := self._removals.pop(key, None):
            removal.join()
        execution = self._executions.submit(key, lambda: self._execution_of(key, task))
        try:
            execution.start()
        except BaseException:
            self._executions.remove(key)
            execution.cancel()
            raise

    def watch(self, key: str) -> Iterator[Phase]:
        execution = self._executions.find(key)
        yield "running"
        execution.wait()
        yield "ended"

    def logs(self, key: str, on_output: OnOutput) -> None:
        self._executions.find(key).pass_output(on_output)

    def cancel(self, key: str) -> None:
        if execution := self._executions.cancel(key):
            execution.cancel()

    def collect(self, key: str) -> TaskResult:
        execution = self._executions.find(key)
        try:
            result = execution.result()
        except BaseException:
            if self._executions.remove(key):
                execution.cancel()
            raise
        # Removing a container takes a third as long as starting one.
        removal = self._removals[key] = threading.Thread(target=execution.cancel)
        removal.start()
        self._executions.remove(key)
        return result

    def close(self) -> None:
        """Wait until the containers of collected tasks are removed."""
        for key in (*self._removals,):
            self._removals.pop(key).join()

    def stop(self) -> None:
        run_parallel(self.cancel, self._executions.close(), _STOPPED_AT_ONCE)

    def _execution_of(self, key: str, task: Task) -> Execution:
        return Execution(self._engine, key, task)

    def run_at_terminal(self, task: Task) -> int:
        """Run a task with the input and output of this process, in a container like any other;
        return its status."""
        _make_areas(task)
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        terminal = {"Tty": is_terminal, "OpenStdin": True, "AttachStdin": True, "StdinOnce": True}
        name = container_name(uuid.uuid4().hex[:12])
        try:
            self._engine.create(name, container_document(task) | terminal, task.platform)
            return subprocess.call(["docker", "start", "--attach", "--interactive", name])
        finally:
            self._engine.remove(name)


def container_name(key: str) -> str:
    return f"envmatrix-{key}"


def _make_areas(task: Task) -> None:
    for area in task.outputs:
        with area.opened():
            pass  # created where it does not exist


class Execution:
    """A container that runs a task, until its result is collected. Its files are mounted: nothing
    is prepared, and no output is fetched."""

    def __init__(self, engine: Engine, key: str, task: Task) -> None:
        self._engine, self._key, self._task = engine, key, task
        self._name = container_name(key)
        # True once a container of this name may be this one.
        self._is_created = False
        self._resources = ExitStack()
        self._starting = threading.Lock()
        # Held by who takes the output. The same thread may cancel what it takes the output of.
        self._reading = threading.RLock()
        self._stdout = _KeptStdout(task.keeps_stdout)
        self._is_started = False
        self._output: Iterator[tuple[int, bytes]] = iter(())
        self._stopped = _Stopped(self._kill)

    def start(self) -> None:
        """Start the container, once. The engine keeps no output, so it is attached to before."""
        with self._starting, self._engine_errors():
            if self._is_started:
                return
            self._check()
            _make_areas(self._task)
            self._begin()
            self._is_started = True
            self._check()

    def _begin(self) -> None:
        self._create()
        self._check()
        self._output = self._resources.enter_context(self._engine.attach(self._name))
        self._resources.enter_context(watch_limits(self._stopped, self._task))
        self._engine.start(self._name)

    def wait(self) -> None:
        with self._engine_errors():
            self._engine.wait(self._name)

    def pass_output(self, on_output: OnOutput) -> None:
        with self._reading, self._engine_errors():
            _follow(self._output, on_output, self._stopped, self._stdout)
        self._check()

    def result(self) -> TaskResult:
        self.pass_output(lambda _stream, _printed: None)
        with self._engine_errors():
            self._check()
            status = self._engine.wait(self._name)
            state = self._engine.state(self._name)
        self._check()
        self._fetch_outputs()
        reason = self._stopped.reason
        return TaskResult(
            TIMED_OUT if reason == "timeout" else status,
            self._stdout.text,
            reason,
            out_of_memory=bool(state.get("OOMKilled")),
        )

    def _fetch_outputs(self) -> None:
        """Bring the outputs into the areas."""

    def cancel(self) -> None:
        """Kill and remove the container, also one that is being created or has ended."""
        self._stopped.is_cancelled = True
        # The engine cannot end a container while somebody is attached and reads nothing.
        if self._reading.acquire(blocking=False):
            try:
                self._resources.close()
            finally:
                self._reading.release()
        self._remove()
        with self._reading:  # whose end the removal causes
            self._resources.close()

    def _check(self) -> None:
        if self._stopped.is_cancelled:
            self._remove()
            raise cancelled_task(self._key)

    def _remove(self) -> None:
        if self._is_created:
            self._engine.remove(self._name)

    def _kill(self) -> None:
        self._engine.kill(self._name)

    def _create(self) -> None:
        """Create the container, in place of one that a killed process has left under its name:
        the output of that is lost, and nobody watches its limits."""
        try:
            self._new_container()
            return
        except NameConflict:
            self._is_created = False
        for container, owner in self._engine.containers(_OWNER, name=self._name).items():
            if not _is_gone(owner):
                raise EngineError(
                    f"the task `{self._key}` runs already, for another process",
                    hint=f"wait for its end, or end it: `docker rm --force {self._name}`",
                )
            self._engine.remove(container)
        self._new_container()

    def _new_container(self) -> None:
        self._is_created = True
        self._engine.create(self._name, container_document(self._task), self._task.platform)

    @contextmanager
    def _engine_errors(self) -> Iterator[None]:
        try:
            yield
        except RequestFailed as error:
            self._check()
            raise EngineError(f"the container of `{self._task.image}` failed: {error}") from error


def container_document(task: Task) -> dict[str, Any]:
    """Return the engine's description of a container of this machine that a library's programs run
    in."""
    uid, gid = os.getuid(), os.getgid()
    mounts = [
        {
            "Type": "bind",
            "Source": str(mount.source),
            "Target": mount.target,
            "ReadOnly": mount.read_only,
        }
        for mount in (*task.mounts, *_user_mounts(uid, gid))
    ]
    labels = {LABEL: "1", _OWNER: _owner(os.getpid())}
    # Output is read as it comes, so the engine need not keep it as well.
    return common_document(
        task, uid, gid, labels, {"Mounts": mounts, "LogConfig": {"Type": "none"}}
    )


def common_document(
    task: Task, uid: int, gid: int, labels: Mapping[str, str], host: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the engine's description of a container on any machine; `host` has what differs, such
    as its files. It has no proxies, which may have passwords, and are unreachable without a
    network."""
    from envmatrix.engine import gpu

    memory = task.limits.memory
    environment = {**base_environment(uid), **task.environment}
    return {
        "Image": task.image,
        "Cmd": list(task.command),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "WorkingDir": task.directory,
        "User": f"{uid}:{gid}",
        "Hostname": _HOST_NAME,
        "AttachStdout": True,
        "AttachStderr": True,
        "Labels": labels,
        "HostConfig": {
            "Tmpfs": {"/tmp": "exec,mode=1777"},  # noqa: S108 -- in memory, of its own
            "ShmSize": task.limits.shared_memory or (memory // 2 if memory else _SHARED_MEMORY),
            "NetworkMode": "none",
            "ExtraHosts": [f"{_HOST_NAME}:127.0.0.1"],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "Init": True,
            "PidsLimit": _MOST_PROCESSES,
            "DeviceRequests": [gpu.request(task.gpus)] if task.gpus else [],
            **({"Memory": memory, "MemorySwap": memory} if memory else {}),
            **host,
        },
    }


def base_environment(uid: int) -> Mapping[str, str]:
    """Return the variables of every container, unless its task has others."""
    name = user_name(uid)
    return {"HOME": _HOME, "USER": name, "LOGNAME": name, "LANG": "C.UTF-8"}


def user_name(uid: int) -> str:
    """Return the name of a user in a container."""
    return _USERS[uid].partition(":")[0] if uid in _USERS else _USER_NAME


def user_entries(uid: int, gid: int) -> Mapping[str, str]:
    """Return path -> text of files that define a user and its group in a container; empty for root,
    whom every image has."""
    if uid == 0 and gid == 0:
        return {}
    users = {uid: f"{_USER_NAME}:x:{uid}:{gid}::{_HOME}:/bin/sh"} | _USERS
    groups = {gid: f"{_USER_NAME}:x:{gid}:"} | _GROUPS
    return {
        name: "".join(f"{row}\n" for _, row in sorted(rows.items()))
        for name, rows in (("/etc/passwd", users), ("/etc/group", groups))
    }


def _user_mounts(uid: int, gid: int) -> Iterator[Mount]:
    """Yield the mounts of files that define a user."""
    directory = cache_directory() / "people" / f"{uid}-{gid}"
    for name, text in user_entries(uid, gid).items():
        file = directory / Path(name).name
        if readable_text(file) != text:
            write_whole(file, text.encode())
        yield Mount(file, name)


class _Stopped:
    """Why a container was killed, if it was."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._since = 0.0
        self.reason: Stop | None = None
        self.is_cancelled = False

    def stop(self, reason: Stop) -> None:
        """Kill the container, without waiting: the engine answers once its output is read."""
        self.reason, self._since = self.reason or reason, time.monotonic()
        threading.Thread(target=self._try_to_kill, daemon=True).start()

    def _try_to_kill(self) -> None:
        with suppress(EngineError):  # it ended by itself at the last moment
            self._kill()

    @property
    def is_over(self) -> bool:
        """True once the output after the kill has been read for long enough."""
        is_late = self.reason is not None and time.monotonic() - self._since > _PARTING_SECONDS
        return is_late or self.is_cancelled


@dataclass
class _KeptStdout:
    """The standard output of a task, if it is kept, within a limit."""

    is_kept: bool
    size: int = 0
    chunks: list[bytes] = field(default_factory=list)

    def add(self, chunk: bytes) -> None:
        if self.is_kept and not self.is_full:
            self.chunks.append(chunk)
            self.size += len(chunk)

    @property
    def is_full(self) -> bool:
        return self.size > _MOST_STDOUT

    @property
    def text(self) -> str:
        return b"".join(self.chunks).decode("utf-8", "replace")


def _follow(
    output: Iterable[tuple[int, bytes]],
    on_output: OnOutput,
    stopped: _Stopped,
    stdout: _KeptStdout,
) -> None:
    """Pass output to `on_output`, and add it to `stdout`."""
    for stream, chunk in output:
        if stream == 0:
            stdout.add(chunk)
        on_output(stream, chunk)
        if stdout.is_full and stopped.reason is None:
            stopped.stop("output")
        if stopped.is_over:
            break


def _free_bytes(directory: str) -> float:
    """Return what is free on the disk of a directory, which somebody may have removed."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return inf


@contextmanager
def watch_limits(
    stopped: _Stopped, task: Task, *, passed_seconds: float = 0, disks: Sequence[str] | None = None
) -> Iterator[None]:
    """Stop the container at a limit while the block runs; signals to this program are handled
    meanwhile. It has run for `passed_seconds`; `disks` are directories of those that it writes to,
    by default the areas."""
    done = threading.Event()
    limits = task.limits
    directories = [*map(str, task.outputs)] if disks is None else disks
    disks = directories if limits.free_disk is not None else ()
    wake = docker_client.waker_of_main_thread()

    def watch() -> None:
        started = time.monotonic() - passed_seconds
        while not done.wait(_LOOK_SECONDS):
            wake()
            free = min(map(_free_bytes, disks), default=inf)
            if reason := limits.exceeded(time.monotonic() - started, free):
                stopped.stop(reason)
            if stopped.reason:
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def sweep(engine: Engine) -> int:
    """Remove containers left behind by killed processes of this machine; return their number."""
    swept = 0
    for container, owner in engine.containers(_OWNER).items():
        if _is_gone(owner):
            engine.remove(container)
            swept += 1
    return swept


def _is_gone(owner: str) -> bool:
    """Return whether a process of this machine has ended."""
    machine, pid, _ = (*owner.split(" "), "", "")[:3]
    return machine == _machine() and pid.isdecimal() and owner != _owner(int(pid))


def _owner(pid: int) -> str:
    """Return a unique name of a process: machine, id and start time, `gone` where it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        began = stat.rpartition(")")[2].split()[19]
    except OSError:
        began = "gone"
    return f"{_machine()} {pid} {began}"


def _machine() -> str:
    """Return the host name and the PID namespace: a container on the host's network has the host's
    name, but processes of its own."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{platform.node()}/{namespace}"
