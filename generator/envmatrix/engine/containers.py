"""Runs programs in containers: no network, no privileges, as the calling user, and nothing
left behind however it ends."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envmatrix.engine import docker_client
from envmatrix.engine.tasks import TIMED_OUT, Mount, OnOutput, Stop, Task, TaskResult
from envmatrix.errors import EngineError
from envmatrix.files import readable_text, write_whole
from envmatrix.machine.cache import cache_directory
from envmatrix.parallel import INTERRUPTION

if TYPE_CHECKING:
    import docker
    import docker.types
    from docker.models.containers import Container

_LABEL = "envmatrix.run"
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


@dataclass(frozen=True, slots=True)
class Containers:
    """Executes tasks on the local engine, in a container each."""

    client: docker.DockerClient

    def run(self, task: Task, on_output: OnOutput) -> TaskResult:
        from docker.errors import DockerException

        try:
            with (
                _create(self.client, task) as container,
                docker_client.attach(self.client, container) as output,
                _watch(container, task) as stopped,
            ):
                container.start()
                with INTERRUPTION.ending(stopped.kill):  # only what runs can be killed
                    stdout = _follow(output, on_output, stopped, keeps_stdout=task.keeps_stdout)
                    status = int(container.wait()["StatusCode"])
                container.reload()
            if INTERRUPTION.is_set:
                raise KeyboardInterrupt
            out_of_memory = bool(container.attrs["State"].get("OOMKilled"))
            status = TIMED_OUT if stopped.reason == "timeout" else status
            return TaskResult(status, stdout, stopped.reason, out_of_memory)
        except (DockerException, OSError) as error:
            raise EngineError(f"the container of `{task.image}` failed: {error}") from error

    def run_at_terminal(self, task: Task) -> int:
        """Run a task at this terminal, in a container like any other; return its status."""
        with _create(self.client, task, tty=True, stdin_open=True) as container:
            program = ["docker", "start", "--attach", "--interactive", str(container.name)]
            return subprocess.call(program)


def _create(
    client: docker.DockerClient, task: Task, **more: bool
) -> AbstractContextManager[Container]:
    for area in task.outputs:
        with area.opened():
            pass  # created where it does not exist
    return docker_client.temporary_container(client, task.image, **options(task), **more)


def options(task: Task) -> dict[str, Any]:
    """Return the engine's options of a container that a library's programs run in."""
    from docker.types import Mount as Bind

    from envmatrix.engine import gpu

    uid, gid = os.getuid(), os.getgid()
    memory = task.limits.memory
    shared = task.limits.shared_memory or (memory // 2 if memory else _SHARED_MEMORY)
    return {
        "platform": task.platform,
        "command": list(task.command),
        "environment": {
            "HOME": _HOME,
            "USER": user_name(uid),
            "LOGNAME": user_name(uid),
            "LANG": "C.UTF-8",
            **task.environment,
        },
        "working_dir": task.directory,
        "mounts": [
            Bind(mount.target, str(mount.source), type="bind", read_only=mount.read_only)
            for mount in (*task.mounts, *_user_mounts(uid, gid))
        ],
        "tmpfs": {"/tmp": "exec,mode=1777"},  # noqa: S108 -- in memory, of its own
        "shm_size": shared,
        "user": f"{uid}:{gid}",
        "network_mode": "none",
        "hostname": _HOST_NAME,
        "extra_hosts": {_HOST_NAME: "127.0.0.1"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "init": True,
        "pids_limit": _MOST_PROCESSES,
        "labels": {_LABEL: "1", _OWNER: _owner(os.getpid())},
        # It is read as it comes, so the engine need not keep it as well.
        "log_config": {"type": "none"},
        "device_requests": [gpu.request(task.gpus)] if task.gpus else [],
        **({"mem_limit": memory, "memswap_limit": memory} if memory else {}),
    }


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

    def __init__(self, container: Container) -> None:
        self._container = container
        self._since = 0.0
        self.reason: Stop | None = None

    def stop(self, reason: Stop) -> None:
        self.reason = self.reason or reason
        self.kill()

    def kill(self) -> None:
        from docker.errors import DockerException

        self._since = time.monotonic()
        with suppress(DockerException):  # it ended by itself at the last moment
            self._container.kill()

    @property
    def is_over(self) -> bool:
        """True once the output after the kill has been read for long enough."""
        return self._since > 0 and time.monotonic() - self._since > _PARTING_SECONDS


def _follow(
    output: Iterable[tuple[int, bytes]],
    on_output: OnOutput,
    stopped: _Stopped,
    *,
    keeps_stdout: bool,
) -> str:
    """Pass output to `on_output`; return the standard output where `keeps_stdout`."""
    stdout: list[bytes] = []
    size = 0
    for stream, chunk in output:
        on_output(stream, chunk)
        if keeps_stdout and stream == 0 and size <= _MOST_STDOUT:
            stdout.append(chunk)
            size += len(chunk)
        if size > _MOST_STDOUT and stopped.reason is None:
            stopped.stop("output")
        if stopped.is_over:
            break
    return b"".join(stdout).decode("utf-8", "replace")


@contextmanager
def _watch(container: Container, task: Task) -> Iterator[_Stopped]:
    """Kill the container at a limit while the block runs; signals to this program are handled
    meanwhile."""
    stopped = _Stopped(container)
    done = threading.Event()
    limits = task.limits
    disks = list(map(str, task.outputs)) if limits.free_disk is not None else ()
    wake = docker_client.waker_of_main_thread()

    def watch() -> None:
        started = time.monotonic()
        while not done.wait(_LOOK_SECONDS):
            wake()
            free = min((shutil.disk_usage(directory).free for directory in disks), default=inf)
            if reason := limits.exceeded(time.monotonic() - started, free):
                stopped.stop(reason)
            if stopped.reason:
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield stopped
    finally:
        done.set()
        watcher.join()


def sweep(client: docker.DockerClient) -> int:
    """Remove containers left behind by killed processes of this machine; return their number."""
    from docker.errors import DockerException

    swept = 0
    for container in docker_client.containers_with(client, _OWNER):
        owner = container.labels[_OWNER]
        machine, pid, _ = (*owner.split(" "), "", "")[:3]
        if machine == _machine() and pid.isdecimal() and owner != _owner(int(pid)):
            with suppress(DockerException):  # swept by somebody else
                container.remove(force=True)
                swept += 1
    return swept


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
