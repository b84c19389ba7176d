"""Whether this machine is as it was when `envmatrix doctor` last found that nothing is missing."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from envmatrix.files import readable_text, write_whole
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.directories import home_directory

BINFMT = "/proc/sys/fs/binfmt_misc"
PLUGINS = tuple(
    Path(root, "docker/cli-plugins/docker-buildx")
    for root in ("/usr/libexec", "/usr/lib", "/usr/local/libexec", "/usr/local/lib")
)
SOCKETS = (Path("/var/run/docker.sock"), Path("/run/docker.sock"))
# Subordinate ids of users.
SUBORDINATE_IDS = (Path("/etc/subuid"), Path("/etc/subgid"))

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ENGINE_SECONDS = 2.0


def client_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of this user's settings of Docker's client."""
    home = environment.get("HOME") or home_directory()
    return Path(environment.get("DOCKER_CONFIG") or Path(home, ".docker"))


def note_ready() -> None:
    """Note that nothing is missing now."""
    write_whole(_note(), _state().encode())


def is_ready() -> bool:
    """Return whether nothing changed since nothing was missing, and the engine of this machine
    answers. One that is elsewhere is not asked."""
    return readable_text(_note()) == _state() and engine_answers()


def _note() -> Path:
    return cache_directory() / "ready"


def _state() -> str:
    """Return a hash of what decides what is missing: the boot, the environment, and files."""
    names = sorted(name for name in os.environ if name == "PATH" or name.startswith("DOCKER_"))
    variables = (f"{name}={os.environ[name]}" for name in names)
    lines = (readable_text(_BOOT), *variables, *map(_version, _files()))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _files() -> Iterator[Path]:
    yield from (*PLUGINS, *SUBORDINATE_IDS, *sorted(Path(BINFMT).glob("qemu-*")))
    yield client_directory(os.environ) / "config.json"
    if program := shutil.which("docker"):
        yield Path(program)


def _version(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return f"{file} is absent"
    return f"{file} {status.st_mtime_ns} {status.st_size}"


def engine_answers() -> bool:
    """Return whether the engine of this machine answers at its socket; true for one elsewhere."""
    address = os.environ.get("DOCKER_HOST") or f"unix://{SOCKETS[0]}"
    if not address.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ENGINE_SECONDS)
        try:
            connection.connect(address.removeprefix("unix://"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False
