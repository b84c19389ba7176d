"""Redis servers: Debian's, and a stand-in in memory."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer, ThreadingMixIn
from urllib.parse import urlsplit

import trustme
from tests import tools
from tests.loopback import running

from envmatrix.machine.access import Access
from envmatrix.shared_cache import protocol
from envmatrix.shared_cache.storages import RedisConnection


class _Answers(StreamRequestHandler):
    server: RedisInMemory

    def handle(self) -> None:
        while request := protocol.read_request(self.rfile):
            answer = self.server.answer(request, self.rfile)
            if answer is None:
                return
            self.wfile.write(answer)


class RedisInMemory(ThreadingMixIn, TCPServer):
    """A stand-in for Redis on loopback. `contents` are its entries, `commands` those that it got;
    `answers` replace its next answers, and None closes a connection."""

    daemon_threads = True
    request_queue_size = 64  # a connection that finds no place is tried again after a second

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.contents: dict[bytes, bytes] = {}
        self.commands: list[tuple[str, tuple[bytes, ...]]] = []
        self.answers: list[bytes | None] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server_address[1]}"

    def answer(self, request: protocol.Request, stream: protocol.Stream) -> bytes | None:
        self.commands.append((request.command, request.words))
        value = request.value_size and protocol.read_value(stream, request.value_size)
        if self.answers:
            return self.answers.pop(0)
        if request.command == "GET":
            return protocol.value_reply(self.contents.get(request.words[0]))
        if isinstance(value, bytes):
            self.contents[request.words[0]] = value
        return protocol.OK


@contextmanager
def redis_in_memory() -> Iterator[RedisInMemory]:
    with RedisInMemory() as server, running(server):
        yield server


@dataclass
class Redis:
    """A running server of Debian's."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def connect(self) -> RedisConnection:
        return RedisConnection.to(urlsplit(self.url), Access())

    def names(self) -> list[str]:
        """Return the names of all entries."""
        text = self._ask(b"EVAL", b"return table.concat(redis.call('KEYS', '*'), ' ')", b"0")
        return (text or b"").decode().split()

    def get(self, name: str) -> bytes | None:
        return self._ask(b"GET", name.encode())

    def set(self, name: str, value: bytes) -> None:
        self._ask(b"SET", name.encode(), value)

    def command(self, *words: str) -> None:
        self._ask(*(word.encode() for word in words))

    def _ask(self, *words: bytes) -> bytes | None:
        connection = self.connect()
        try:
            return connection.ask(*words)
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[Redis]:
    """Start Debian's server on loopback, with nothing stored."""
    port = free_port()
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    environment = {**os.environ, "PATH": tools.path_with("redis-server")}
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=directory, env=environment, stdout=log, stderr=log)
    redis = Redis(port, process)
    try:
        _wait(redis, directory)
        yield redis
    finally:
        redis.stop()


def tls_options(directory: Path, port: int) -> list[str]:
    """Return options with which the server speaks TLS at a second port; its authority is in the
    file `ca.pem`."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
    return [
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", "certificate.pem", "--tls-key-file", "key.pem"),
        *("--tls-ca-cert-file", "ca.pem"),
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait(redis: Redis, directory: Path) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", redis.port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError((directory / "redis.log").read_text())
