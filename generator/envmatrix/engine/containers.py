"""Runs programs in containers: no network, no privileges, as the calling user, and nothing
left behind however it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    keeps_stdout: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """`stdout` is kept only where the specification asks for it."""

    status: int
    stdout: str = ""


def run(client: docker.DockerClient, spec: ContainerSpec, on_line: Callable[[str], None]) -> Ended:
    """Run `spec.command` to its end; `on_line` hears each line it prints, as it comes. The
    status is 124 where it outlived its time. EngineError where the container cannot start."""
    from docker.errors import DockerException

    for mount in spec.mounts:
        if not mount.read_only:
            mount.source.mkdir(parents=True, exist_ok=True)
    container = client.containers.create(**_options(spec))
    try:
        container.start()
        timed_out = _follow(container, on_line, spec.timeout)
        status = _TIMED_OUT if timed_out else int(container.wait()["StatusCode"])
        if not spec.keeps_stdout:
            return Ended(status)
        return Ended(status, container.logs(stderr=False).decode("utf-8", "replace"))
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


def _follow(container: Container, on_line: Callable[[str], None], timeout: float | None) -> bool:
    """Pass on what the container prints until it ends; True if it had to be killed."""
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        container.kill()

    timer = threading.Timer(timeout, kill) if timeout else None
    if timer:
        timer.start()
    try:
        rest = b""
        for chunk in container.logs(stream=True, follow=True):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                on_line(line.decode("utf-8", "replace").rstrip("\r"))
        if rest:
            on_line(rest.decode("utf-8", "replace"))
    finally:
        if timer:
            timer.cancel()
    return killed.is_set()


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
