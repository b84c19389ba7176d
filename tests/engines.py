"""A second container engine, real, for what a test must not do to the first: end it, fill its disk,
take its network away, remove its images."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_STARTED_WITHIN_SECONDS = 60.0
# How many characters of an engine's log a failure shows.
_SHOWN_LOG = 3_000


@dataclass
class Engine:
    """An engine in a network of its own, which has nothing but loopback. `home` holds all it
    writes; `namespace` is the name of its network."""

    home: Path
    namespace: str
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """The address of the engine, for $DOCKER_HOST."""
        return f"unix://{self.home}/docker.sock"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + _STARTED_WITHIN_SECONDS
        while self.run("version", check=False).returncode:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.1)

    def _command(self) -> list[str]:
        return [
            "nsenter",
            f"--net=/run/netns/{self.namespace}",
            "dockerd",
            f"--config-file={self.home}/daemon.json",
            f"--data-root={self.home}/data",
            f"--exec-root={self.home}/run",
            f"--pidfile={self.home}/pid",
            f"--host={self.address}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker` with this engine; where it has to succeed, a failure shows what the two
        said."""
        environment = {**os.environ, "DOCKER_HOST": self.address}
        done = subprocess.run(
            ["docker", *arguments], env=environment, check=False, capture_output=True, text=True
        )
        assert not (check and done.returncode), f"{done.stderr}\n{self.log[-_SHOWN_LOG:]}"
        return done

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the engine as a power failure would: nothing is written any more."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        """End the engine, then whatever of it is left: its containerd, and shims of containers."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None
        for pid in self._left_over():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self._left_over():
            time.sleep(0.05)
        (self.home / "pid").unlink(missing_ok=True)

    def _left_over(self) -> list[int]:
        marker = f"{self.home}/".encode()
        return [
            int(directory.name)
            for directory in Path("/proc").glob("[0-9]*")
            if marker in _command_line(directory) and b"containerd" in _command_line(directory)
        ]

    @contextmanager
    def buildkit(self, name: str) -> Iterator[str]:
        """An address of this engine's BuildKit, which it has behind an upgrade of HTTP."""
        address = self.home / f"{name}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(address))
            listener.listen()
            threading.Thread(target=self._upgrade, args=(listener,), daemon=True).start()
            yield f"unix://{address}"
            listener.shutdown(socket.SHUT_RDWR)

    def _upgrade(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(f"{self.home}/docker.sock")
            far.sendall(
                b"POST /grpc HTTP/1.1\r\nHost: engine\r\n"
                b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            )
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += far.recv(1)
            threading.Thread(target=_join, args=(near, far), daemon=True).start()

    @contextmanager
    def reaching(self, port: int) -> Iterator[None]:
        """Have 127.0.0.1:`port` of this engine's network be that of the machine."""
        listener = _listening(self.namespace, port)
        thread = threading.Thread(target=_forward, args=(listener, port), daemon=True)
        thread.start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()


@contextmanager
def second_engine(*, disk: str | None = None) -> Iterator[Engine]:
    """An engine that runs, and is gone with all it made at the end; `disk` is the size of what it
    may write, such as `300m`."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="envmatrix-engine-"))
        stack.callback(shutil.rmtree, home)
        if disk:
            (home / "data").mkdir()
            _run("mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", str(home / "data"))
        stack.callback(_unmount, home)
        namespace = home.name
        _run("ip", "netns", "add", namespace)
        stack.callback(_run, "ip", "netns", "delete", namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        features = {"containerd-snapshotter": True, "cdi": True}
        (home / "daemon.json").write_text(json.dumps({"features": features, "experimental": True}))
        engine = Engine(home, namespace)
        stack.callback(engine.kill)
        engine.start()
        yield engine


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _unmount(home: Path) -> None:
    """Unmount what the engine mounted, the innermost first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([path for path in mounts if path.startswith(f"{home}/")]):
        _run("umount", "--lazy", mount)


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _listening(namespace: str, port: int) -> socket.socket:
    """A socket belongs to the network of the thread that made it."""
    sockets: list[socket.socket] = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{namespace}").open() as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        sockets.append(socket.create_server(("127.0.0.1", port)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return sockets[0]


def _forward(listener: socket.socket, port: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_connect, args=(near, port), daemon=True).start()


def _connect(near: socket.socket, port: int) -> None:
    with suppress(OSError), near, socket.create_connection(("127.0.0.1", port)) as far:
        _join(near, far)


def _join(near: socket.socket, far: socket.socket) -> None:
    with near, far:
        thread = threading.Thread(target=_pipe, args=(near, far), daemon=True)
        thread.start()
        _pipe(far, near)
        thread.join()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
