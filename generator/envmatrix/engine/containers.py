"""Runs programs in containers: no network, no privileges, as the calling user, and nothing
left behind however it ends."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from envmatrix.confined import Area
from envmatrix.engine.people import Person
from envmatrix.errors import EngineError

if TYPE_CHECKING:
    import docker
    import docker.types
    from docker.models.containers import Container
    from docker.types import DeviceRequest

_LABEL = "envmatrix.run"
# Who waits for a container: a machine, a process and when that began.
_OWNER = "envmatrix.owner"
# What a program that outlived its time ends with, as coreutils' `timeout` has it.
TIMED_OUT = 124

# The standard output that is kept where it is asked for.
_MOST_KEPT = 64 << 20
# What a container that was killed printed before is heard for so long.
_PARTING_SECONDS = 1.0
# What a container is called in itself, and resolves.
_HOST_NAME = "envmatrix"
# Memory that processes share (/dev/shm) where nothing else is known. The engine's own 64 MB do not
# suffice for NCCL, nor for the workers of PyTorch's loaders.
_SHARED_MEMORY = 1 << 30
_MOST_PROCESSES = 16_384
_LOOK_SECONDS = 0.5

# What came just before the main thread began to wait, or came to another thread, is handled only
# when the main thread wakes. This signal does nothing else.
_WAKE = signal.SIGURG

Stop = Literal["timeout", "disk", "output"]
# Hears what a container prints as it comes: 0 for its standard output or 1 for its standard error,
# and some bytes.
Heard = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """What a container sees as `target`. It writes to areas only, and to every area."""

    source: Path | Area
    target: str

    @property
    def read_only(self) -> bool:
        return not isinstance(self.source, Area)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may take: seconds, bytes of memory, and the bytes that have to stay free
    where it writes; nothing limits what is None. `shared_memory` of the memory may be shared
    between processes; half of it where that is None."""

    seconds: float | None = None
    memory: int | None = None
    free_disk: int | None = None
    shared_memory: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What runs, and all that it may reach."""

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
class Ended:
    """`stdout` is kept only where the specification asks for it. `stopped` is the limit at which
    all of it was killed; `out_of_memory` whether the kernel killed something in it."""

    status: int
    stdout: str = ""
    stopped: Stop | None = None
    out_of_memory: bool = False


def run(client: docker.DockerClient, spec: ContainerSpec, heard: Heard) -> Ended:
    """Run `spec.command` to its end; `heard` is told what it prints, as it comes. What it started
    ends with it. EngineError where the container cannot start or the engine fails."""
    from docker.errors import DockerException

    try:
        with (
            _made(client, spec) as container,
            _printed(client, container) as printed,
            _watched(container, spec) as stopped,
        ):
            container.start()
            stdout = _follow(printed, heard, stopped, keeps_stdout=spec.keeps_stdout)
            status = int(container.wait()["StatusCode"])
            container.reload()
        out_of_memory = bool(container.attrs["State"].get("OOMKilled"))
        status = TIMED_OUT if stopped.reason == "timeout" else status
        return Ended(status, stdout, stopped.reason, out_of_memory)
    except (DockerException, OSError) as error:
        raise EngineError(f"the container of `{spec.image}` failed: {error}") from error


def shell(client: docker.DockerClient, spec: ContainerSpec) -> int:
    """Run `spec.command` at this terminal, in the container that `run` would make; its status."""
    with _made(client, spec, tty=True, stdin_open=True) as container:
        program = ["docker", "start", "--attach", "--interactive", str(container.name)]
        return subprocess.call(program)


@contextmanager
def _made(client: docker.DockerClient, spec: ContainerSpec, **more: Any) -> Iterator[Container]:
    """A container that is not started yet, and is gone after the block."""
    from docker.errors import DockerException

    for mount in spec.mounts:
        if isinstance(mount.source, Area):
            with mount.source.opened():
                pass  # there from now on
    name = f"envmatrix-{uuid.uuid4().hex[:12]}"  # so that one can be removed that is being made
    try:
        try:
            container = client.containers.create(name=name, **options(spec), **more)
        except DockerException as error:
            raise EngineError(f"no container of `{spec.image}` can be made: {error}") from error
        yield container
    finally:
        with suppress(DockerException, OSError):  # an engine that is gone keeps nothing running
            client.api.remove_container(name, force=True)


def options(spec: ContainerSpec) -> dict[str, Any]:
    """All that the engine is asked for, of every container that a library's programs run in."""
    from docker.types import Mount as Bind

    person = Person.calling()
    mounts = [*spec.mounts, *(Mount(file, its) for its, file in person.files().items())]
    memory = spec.limits.memory
    shared = spec.limits.shared_memory or (memory // 2 if memory else _SHARED_MEMORY)
    return {
        "image": spec.image,
        "platform": spec.platform,
        "command": list(spec.command),
        "environment": {
            "HOME": person.home,
            "USER": person.name,
            "LOGNAME": person.name,
            "LANG": "C.UTF-8",
            **spec.environment,
        },
        # Those that the engine's client is configured with: they may have passwords, and lead
        # nowhere.
        "use_config_proxy": False,
        "working_dir": spec.directory,
        "mounts": [
            Bind(mount.target, str(mount.source), type="bind", read_only=mount.read_only)
            for mount in mounts
        ],
        "tmpfs": {"/tmp": "exec,mode=1777"},  # noqa: S108 -- in memory, of its own
        "shm_size": shared,
        "user": f"{person.uid}:{person.gid}",
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


_Chunks = tuple[bytes | None, bytes | None]


@contextmanager
def _printed(client: docker.DockerClient, container: Container) -> Iterator[Iterator[_Chunks]]:
    """What the container will print: of stdout and of stderr, as it comes."""
    stream = client.api.attach(str(container.id), stdout=True, stderr=True, stream=True, demux=True)
    # docker-py leaves this to its caller; the stream's own `close` leaves the connection open.
    with closing(stream._response):  # type: ignore[attr-defined]
        yield stream


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
        """Whether what it printed before need not be heard any more."""
        return self.reason is not None and time.monotonic() - self._since > _PARTING_SECONDS


def _follow(
    printed: Iterator[_Chunks], heard: Heard, stopped: _Stopped, *, keeps_stdout: bool
) -> str:
    """Pass on what comes; the standard output, where that is kept."""
    kept: list[bytes] = []
    size = 0
    for chunks in printed:
        for stream, chunk in enumerate(chunks):
            if not chunk:
                continue
            heard(stream, chunk)
            if keeps_stdout and stream == 0 and size <= _MOST_KEPT:
                kept.append(chunk)
                size += len(chunk)
        if size > _MOST_KEPT and stopped.reason is None:
            stopped.stop("output")
        if stopped.is_over:
            break
    return b"".join(kept).decode("utf-8", "replace")


@contextmanager
def _watched(container: Container, spec: ContainerSpec) -> Iterator[_Stopped]:
    """Kill the container at a limit while the block runs. No signal to this program is missed
    meanwhile."""
    stopped = _Stopped(container)
    done = threading.Event()
    limits = spec.limits
    written = [str(mount.source) for mount in spec.mounts if not mount.read_only]

    main_thread = cast("int", threading.main_thread().ident)
    if threading.get_ident() == main_thread:
        signal.signal(_WAKE, lambda *_: None)

    def watch() -> None:
        begun = time.monotonic()
        while not done.wait(_LOOK_SECONDS):
            signal.pthread_kill(main_thread, _WAKE)
            if limits.seconds is not None and time.monotonic() - begun > limits.seconds:
                stopped.stop("timeout")
            elif limits.free_disk is not None and any(
                shutil.disk_usage(directory).free < limits.free_disk for directory in written
            ):
                stopped.stop("disk")
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
    """Remove the containers of processes of this machine that were killed; how many."""
    from docker.errors import DockerException

    swept = 0
    # Those that end meanwhile are gone before they can be looked at.
    found = client.containers.list(all=True, filters={"label": _OWNER}, ignore_removed=True)
    for container in found:
        owner = container.labels[_OWNER]
        machine, pid, _ = (*owner.split(" "), "", "")[:3]
        if machine == _machine() and pid.isdecimal() and owner != _owner(int(pid)):
            with suppress(DockerException):  # swept by somebody else
                container.remove(force=True)
                swept += 1
    return swept


def _owner(pid: int) -> str:
    """A process as no other one is called; one that is gone has no beginning."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        began = stat.rpartition(")")[2].split()[19]
    except OSError:
        began = "gone"
    return f"{_machine()} {pid} {began}"


def _machine() -> str:
    """Where a process is known by its number: a container on a host's network has the host's name,
    and processes of its own."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{platform.node()}/{namespace}"
