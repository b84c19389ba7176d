"""Runs programs in containers: no network, no privileges, as the calling user, and nothing
left behind however it ends."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from envmatrix.errors import EngineError

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.types import DeviceRequest

_LABEL = "envmatrix.run"
# Who waits for a container: a machine, a process and when that began.
_OWNER = "envmatrix.owner"
# What a program that outlived its time ends with, as coreutils' `timeout` has it.
TIMED_OUT = 124

# A line longer than this is passed on in pieces.
_LONGEST_LINE = 64 << 10
_MOST_PROCESSES = 16_384
_LOOK_SECONDS = 0.5

# What came just before the main thread began to wait, or came to another thread, is handled only
# when the main thread wakes. This signal does nothing else.
_WAKE = signal.SIGURG

Stop = Literal["timeout", "disk"]


@dataclass(frozen=True, slots=True)
class Mount:
    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may take: seconds, bytes of memory, and the bytes that have to stay free
    where it writes; nothing limits what is None."""

    seconds: float | None = None
    memory: int | None = None
    free_disk: int | None = None


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


def run(client: docker.DockerClient, spec: ContainerSpec, on_line: Callable[[str], None]) -> Ended:
    """Run `spec.command` to its end; `on_line` hears each line it prints, as it comes. What it
    started ends with it. EngineError where the container cannot start or the engine fails."""
    from docker.errors import DockerException

    for mount in spec.mounts:
        if not mount.read_only:
            mount.source.mkdir(parents=True, exist_ok=True)
    name = f"envmatrix-{uuid.uuid4().hex[:12]}"  # so that one can be removed that is being made
    try:
        try:
            container = client.containers.create(name=name, **_options(spec))
        except DockerException as error:
            raise EngineError(f"no container of `{spec.image}` can be made: {error}") from error
        with _printed(client, container) as printed, _watched(container, spec) as stopped:
            container.start()
            stdout = _follow(printed, on_line, keeps_stdout=spec.keeps_stdout)
        status = int(container.wait()["StatusCode"])
        container.reload()
        out_of_memory = bool(container.attrs["State"].get("OOMKilled"))
        status = TIMED_OUT if "timeout" in stopped else status
        return Ended(status, stdout, next(iter(stopped), None), out_of_memory)
    except (DockerException, OSError) as error:
        raise EngineError(f"the container of `{spec.image}` failed: {error}") from error
    finally:
        with suppress(DockerException, OSError):  # an engine that is gone keeps nothing running
            client.api.remove_container(name, force=True)


def _options(spec: ContainerSpec) -> dict[str, Any]:
    limit = spec.limits.memory
    return {
        "image": spec.image,
        "platform": spec.platform,
        "command": list(spec.command),
        "environment": {"HOME": "/tmp", **spec.environment},  # noqa: S108 -- a tmpfs of its own
        "working_dir": spec.directory,
        "volumes": {
            str(mount.source): {"bind": mount.target, "mode": "ro" if mount.read_only else "rw"}
            for mount in spec.mounts
        },
        "tmpfs": {"/tmp": "exec,mode=1777"},  # noqa: S108
        "user": f"{os.getuid()}:{os.getgid()}",
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "init": True,
        "pids_limit": _MOST_PROCESSES,
        "labels": {_LABEL: "1", _OWNER: _owner(os.getpid())},
        # It is read as it comes, so the engine need not keep it as well.
        "log_config": {"type": "none"},
        "device_requests": list(spec.devices),
        **({"mem_limit": limit, "memswap_limit": limit} if limit else {}),
    }


_Chunks = tuple[bytes | None, bytes | None]


@contextmanager
def _printed(client: docker.DockerClient, container: Container) -> Iterator[Iterator[_Chunks]]:
    """What the container will print: of stdout and of stderr, as it comes."""
    stream = client.api.attach(str(container.id), stdout=True, stderr=True, stream=True, demux=True)
    # docker-py leaves this to its caller; the stream's own `close` leaves the connection open.
    with closing(stream._response):  # type: ignore[attr-defined]
        yield stream


def _follow(
    printed: Iterator[_Chunks],
    on_line: Callable[[str], None],
    *,
    keeps_stdout: bool,
) -> str:
    """Pass on what comes, in whole lines; the standard output, where that is kept."""
    kept: list[bytes] = []
    rests = [b"", b""]
    for chunks in printed:
        for stream, chunk in enumerate(chunks):
            if not chunk:
                continue
            if keeps_stdout and stream == 0:
                kept.append(chunk)
            *lines, rests[stream] = (rests[stream] + chunk).split(b"\n")
            if len(rests[stream]) > _LONGEST_LINE:
                lines.append(rests[stream])
                rests[stream] = b""
            for line in lines:
                on_line(line.decode("utf-8", "replace").rstrip("\r"))
    for rest in filter(None, rests):
        on_line(rest.decode("utf-8", "replace"))
    return b"".join(kept).decode("utf-8", "replace")


@contextmanager
def _watched(container: Container, spec: ContainerSpec) -> Iterator[list[Stop]]:
    """Kill the container at a limit while the block runs; which one, if any, is in the list. No
    signal to this program is missed meanwhile."""
    stopped: list[Stop] = []
    done = threading.Event()
    limits = spec.limits
    written = [mount.source for mount in spec.mounts if not mount.read_only]

    main_thread = cast("int", threading.main_thread().ident)
    if threading.get_ident() == main_thread:
        signal.signal(_WAKE, lambda *_: None)

    def watch() -> None:
        begun = time.monotonic()
        while not done.wait(_LOOK_SECONDS):
            signal.pthread_kill(main_thread, _WAKE)
            if limits.seconds is not None and time.monotonic() - begun > limits.seconds:
                stopped.append("timeout")
            elif limits.free_disk is not None and any(
                shutil.disk_usage(directory).free < limits.free_disk for directory in written
            ):
                stopped.append("disk")
            if stopped:
                _kill(container)
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


def shell_command(spec: ContainerSpec) -> list[str]:
    """`docker run` for a person: the same container with a terminal."""
    mounts = [
        f"--volume={mount.source}:{mount.target}{':ro' if mount.read_only else ''}"
        for mount in spec.mounts
    ]
    environment = {"HOME": "/tmp", **spec.environment}  # noqa: S108
    variables = [f"--env={name}={value}" for name, value in environment.items()]
    return [
        "docker",
        "run",
        "--rm",
        "--interactive",
        "--tty",
        "--init",
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--tmpfs=/tmp:exec,mode=1777",
        f"--label={_LABEL}=1",
        f"--user={os.getuid()}:{os.getgid()}",
        f"--platform={spec.platform}",
        f"--workdir={spec.directory}",
        *mounts,
        *variables,
        spec.image,
        *spec.command,
    ]
