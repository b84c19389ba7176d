"""Runs programs in containers: no network, no privileges, as the calling user, and nothing
left behind however it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from envmatrix.errors import EngineError

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.types import DeviceRequest

_LABEL = "envmatrix.run"
_TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Mount:
    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What runs, and all that it may reach. `timeout` is in seconds."""

    image: str
    platform: str
    command: Sequence[str]
    mounts: Sequence[Mount]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    devices: Sequence[DeviceRequest] = ()
    timeout: float | None = None


class OnLine(Protocol):
    """Hears each line that a container prints, as it comes."""

    def __call__(self, line: str, *, is_error: bool) -> None: ...


def run(client: docker.DockerClient, spec: ContainerSpec, on_line: OnLine) -> int:
    """Exit status of `spec.command`; 124 where it outlived its time. EngineError where the
    container cannot start."""
    from docker.errors import DockerException

    for mount in spec.mounts:
        if not mount.read_only:
            mount.source.mkdir(parents=True, exist_ok=True)
    container = client.containers.create(**_options(spec))
    try:
        # Attached before it starts: not a line is lost.
        stream = container.attach(stream=True, demux=True, logs=True)
        container.start()
        timed_out = _follow(container, stream, on_line, spec.timeout)
        status = int(container.wait()["StatusCode"])
        return _TIMED_OUT if timed_out else status
    except DockerException as error:
        raise EngineError(f"the container of `{spec.image}` failed: {error}") from error
    finally:
        container.remove(force=True)


def _options(spec: ContainerSpec) -> dict[str, Any]:
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
        "labels": {_LABEL: "1"},
        "device_requests": list(spec.devices),
    }


def _follow(
    container: Container,
    stream: Iterable[tuple[bytes | None, bytes | None]],
    on_line: OnLine,
    timeout: float | None,
) -> bool:
    """Pass on what the container prints until it ends; True if it had to be killed."""
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        container.kill()

    timer = threading.Timer(timeout, kill) if timeout else None
    if timer:
        timer.start()
    try:
        _pass_on(stream, on_line)
    finally:
        if timer:
            timer.cancel()
    return killed.is_set()


def _pass_on(stream: Iterable[tuple[bytes | None, bytes | None]], on_line: OnLine) -> None:
    rests = [b"", b""]
    for chunks in stream:
        for channel, chunk in enumerate(chunks):
            *lines, rests[channel] = (rests[channel] + (chunk or b"")).split(b"\n")
            for line in lines:
                on_line(line.decode("utf-8", "replace").rstrip("\r"), is_error=channel == 1)
    for channel, rest in enumerate(rests):
        if rest:
            on_line(rest.decode("utf-8", "replace"), is_error=channel == 1)


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
