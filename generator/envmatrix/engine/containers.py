"""Runs programs in containers: no network, no privileges, as the calling user, and nothing
left behind however it ends."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from envmatrix.confined import Area
from envmatrix.engine import docker_client
from envmatrix.engine.container_user import ContainerUser
from envmatrix.errors import EngineError

if TYPE_CHECKING:
    import docker
    import docker.types
    from docker.models.containers import Container
    from docker.types import DeviceRequest

_LABEL = "envmatrix.run"
# The process that waits for a container: its machine, its id and its start time.
_OWNER = "envmatrix.owner"
# The exit code of a program that was stopped at its time limit, as of coreutils' `timeout`.
TIMED_OUT = 124

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

Stop = Literal["timeout", "disk", "output"]
# Called with the output of a container as it comes: 0 for standard output or 1 for standard error,
# and some bytes.
OnOutput = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory at `target` in a container; only areas are writable."""

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
class ContainerSpec:
    """A program to run and everything that it may access."""

    image: str
    platform: str
    command: Sequence[str]
    mounts: Sequence[Mount]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    devices: Sequence[DeviceRequest] = ()
    limits: Limits = Limits()
    keeps_stdout: bool = False


@dataclass(frozen=True, slots=True)
class ContainerResult:
    """The end of a container. `stdout` is empty unless the specification has `keeps_stdout`;
    `stopped` is the limit at which it was killed; `out_of_memory`: the kernel killed a process."""

    status: int
    stdout: str = ""
    stopped: Stop | None = None
    out_of_memory: bool = False


def run(client: docker.DockerClient, spec: ContainerSpec, on_output: OnOutput) -> ContainerResult:
    """Run `spec.command` to its end and pass its output to `on_output`. Child processes end too.
    EngineError where the container cannot start or the engine fails."""
    from docker.errors import DockerException

    try:
        with (
            _create(client, spec) as container,
            docker_client.attach(client, container) as output,
            _watch(container, spec) as stopped,
        ):
            container.start()
            stdout = _follow(output, on_output, stopped, keeps_stdout=spec.keeps_stdout)
            status = int(container.wait()["StatusCode"])
            container.reload()
        out_of_memory = bool(container.attrs["State"].get("OOMKilled"))
        status = TIMED_OUT if stopped.reason == "timeout" else status
        return ContainerResult(status, stdout, stopped.reason, out_of_memory)
    except (DockerException, OSError) as error:
        raise EngineError(f"the container of `{spec.image}` failed: {error}") from error


def shell(client: docker.DockerClient, spec: ContainerSpec) -> int:
    """Run `spec.command` at this terminal in a container like those of `run`; return its status."""
    with _create(client, spec, tty=True, stdin_open=True) as container:
        program = ["docker", "start", "--attach", "--interactive", str(container.name)]
        return subprocess.call(program)


def _create(
    client: docker.DockerClient, spec: ContainerSpec, **more: bool
) -> AbstractContextManager[Container]:
    for mount in spec.mounts:
        if isinstance(mount.source, Area):
            with mount.source.opened():
                pass  # created where it does not exist
    return docker_client.temporary_container(client, spec.image, **options(spec), **more)


def options(spec: ContainerSpec) -> dict[str, Any]:
    """Return the engine's options of a container that a library's programs run in."""
    from docker.types import Mount as Bind

    user = ContainerUser.calling()
    mounts = [*spec.mounts, *(Mount(file, target) for target, file in user.files().items())]
    memory = spec.limits.memory
    shared = spec.limits.shared_memory or (memory // 2 if memory else _SHARED_MEMORY)
    return {
        "platform": spec.platform,
        "command": list(spec.command),
        "environment": {
            "HOME": user.home,
            "USER": user.name,
            "LOGNAME": user.name,
            "LANG": "C.UTF-8",
            **spec.environment,
        },
        "working_dir": spec.directory,
        "mounts": [
            Bind(mount.target, str(mount.source), type="bind", read_only=mount.read_only)
            for mount in mounts
        ],
        "tmpfs": {"/tmp": "exec,mode=1777"},  # noqa: S108 -- in memory, of its own
        "shm_size": shared,
        "user": f"{user.uid}:{user.gid}",
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
        "device_requests": list(spec.devices),
        **({"mem_limit": memory, "memswap_limit": memory} if memory else {}),
    }


class _Stopped:
    """Why a container was killed, if it was."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._since = 0.0
        self.reason: Stop | None = None

    def stop(self, reason: Stop) -> None:
        self.reason, self._since = self.reason or reason, time.monotonic()
        _kill(self._container)

    @property
    def is_over(self) -> bool:
        """True once the output after the kill has been read for long enough."""
        return self.reason is not None and time.monotonic() - self._since > _PARTING_SECONDS


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
def _watch(container: Container, spec: ContainerSpec) -> Iterator[_Stopped]:
    """Kill the container at a limit while the block runs; signals to this program are handled
    meanwhile."""
    stopped = _Stopped(container)
    done = threading.Event()
    limits = spec.limits
    written = [str(mount.source) for mount in spec.mounts if not mount.read_only]
    disks = written if limits.free_disk is not None else ()
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


def _kill(container: Container) -> None:
    from docker.errors import DockerException

    with suppress(DockerException):  # it ended by itself at the last moment
        container.kill()


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
