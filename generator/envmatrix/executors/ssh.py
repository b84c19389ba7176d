"""The socket of an engine on another machine, forwarded by SSH: one connection for all requests.

docker-py would start a program for each, of which servers accept ten at once, and needs paramiko.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from envmatrix.errors import EngineError

_SOCKET = "/var/run/docker.sock"
_CONNECT_SECONDS = 30.0
_PAUSE_SECONDS = 1.0
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ExitOnForwardFailure=yes",
    "ServerAliveCountMax=3",
    "ServerAliveInterval=10",
    "StreamLocalBindUnlink=yes",
)


@contextmanager
def forwarded_socket(address: str) -> Iterator[str]:
    """Yield the local address of the engine at `ssh://user@machine:port/path/of/socket`. The
    connection is made again when it is lost."""
    with TemporaryDirectory(prefix="envmatrix-ssh-") as directory:
        socket = Path(directory) / "docker.sock"
        tunnel = _Tunnel(ssh_command(address, socket))
        try:
            tunnel.await_socket(socket, address)
            yield f"unix://{socket}"
        finally:
            tunnel.close()


def ssh_command(address: str, socket: Path) -> tuple[str, ...]:
    """Return the program that forwards `socket` to the engine at an address."""
    parts = urlsplit(address)
    if parts.scheme != "ssh" or not parts.hostname or parts.hostname.startswith("-"):
        raise EngineError(f"`{address}` is no address of an engine by SSH")
    options = [word for option in _OPTIONS for word in ("-o", option)]
    user = ("-l", parts.username) if parts.username else ()
    port = ("-p", str(parts.port)) if parts.port else ()
    remote = parts.path if parts.path.strip("/") else _SOCKET
    return ("ssh", "-nNT", *options, *user, *port, "-L", f"{socket}:{remote}", "--", parts.hostname)


class _Tunnel:
    """A program `ssh` that is started again when it ends."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._closing = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            # In a session of its own, Ctrl-C does not end it before the containers.
            return subprocess.Popen(
                self._command, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except FileNotFoundError as error:
            raise EngineError("`ssh` is missing") from error

    def _keep(self) -> None:
        while True:
            self._process.wait()
            if self._closing.wait(_PAUSE_SECONDS):
                return
            self._process = self._start()

    def await_socket(self, socket: Path, address: str) -> None:
        end = time.monotonic() + _CONNECT_SECONDS
        while not socket.exists():
            if time.monotonic() > end:
                hint = f"does `docker --host {address} version` answer, without a password?"
                raise EngineError(f"no connection to `{address}`", hint=hint)
            time.sleep(0.05)

    def close(self) -> None:
        self._closing.set()
        self._process.terminate()
        self._keeper.join()
