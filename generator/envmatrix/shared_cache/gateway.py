"""The gateway to a shared compiler cache: a Unix socket for one container, which speaks Redis's
protocol whatever the storage is.

A container has no network and no login, and reaches nothing but entries of its trust group. It can
write to them only where the user's configuration allows it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingMixIn, UnixStreamServer
from typing import Any

from envmatrix.errors import EnvmatrixError
from envmatrix.machine.configuration import SharedCache
from envmatrix.machine.http import message_of
from envmatrix.parallel import Once
from envmatrix.records import dataclass
from envmatrix.shared_cache import protocol
from envmatrix.shared_cache.protocol import MOST_VALUE, Malformed, Request, Stream
from envmatrix.shared_cache.storages import FAILURES, Storage, open_storage

# A compiler cache keeps its connection while it compiles.
_MOST_CONNECTIONS = 512
# Values in memory at a time, and how long a container may take for one.
_MOST_TRANSFERS = 16
_TRANSFER_SECONDS = 10.0


@dataclass
class Gateway:
    """What a container may do with a storage: read entries of its trust group, and write them if
    `is_writable`. The first `failure` of the storage ends its use by all gateways, with one call of
    `warn`: builds wait for it once."""

    storage: Storage
    group: str
    is_writable: bool
    failure: Once
    warn: Callable[[str], None]
    is_open: bool = True

    @property
    def is_available(self) -> bool:
        return self.is_open and not self.failure.has_happened

    def reply(self, request: Request, stream: Stream) -> bytes:
        """Do what a request asks for, if it is allowed. A value that may not be written is
        ignored: sccache would stop to write its local cache as well."""
        match request:
            case Request("GET", (key,)):
                return protocol.value_reply(self._get(key))
            case Request("EXISTS", (key,)):
                return protocol.number_reply(int(self._get(key) is not None))
            case Request("SET", (key,), int(size)):
                self._set(key, size, stream)
                return protocol.OK
            case Request("DEL", (_,)):
                return protocol.number_reply(0)
            case Request("PING", ()):
                return protocol.PONG
        return protocol.error_reply("the gateway of envmatrix has no such command")

    def _get(self, key: bytes) -> bytes | None:
        if not self.is_available:
            return None
        try:
            return self.storage.get(protocol.entry_name(self.group, key))
        except FAILURES as error:
            self.end(error)
            return None

    def _set(self, key: bytes, size: int, stream: Stream) -> None:
        if not self.is_writable or not self.is_available or size > MOST_VALUE:
            protocol.skip_value(stream, size)
            return
        value = protocol.read_value(stream, size)
        try:
            self.storage.put(protocol.entry_name(self.group, key), value)
        except FAILURES as error:
            self.end(error)

    def end(self, error: BaseException) -> None:
        """Use the storage no longer."""
        if self.is_open and self.failure.happens():
            self.warn(error.message if isinstance(error, EnvmatrixError) else message_of(error))


class _Connection(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with suppress(OSError):
            try:
                while request := protocol.read_request(self.rfile):
                    self._answer(request)
            except Malformed as error:
                self.wfile.write(protocol.error_reply(str(error)))

    def _answer(self, request: Request) -> None:
        with self.server.transfers:
            self.connection.settimeout(_TRANSFER_SECONDS)
            self.wfile.write(self.server.gateway.reply(request, self.rfile))
            self.connection.settimeout(None)


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, address: str, gateway: Gateway) -> None:
        super().__init__(address, _Connection, bind_and_activate=False)
        self.gateway = gateway
        self.transfers = threading.BoundedSemaphore(_MOST_TRANSFERS)
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._connections.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """End the use of the storage after an error that nothing else expects: the build goes on
        without it."""
        if error := sys.exception():
            self.gateway.end(error)


@contextmanager
def open_gateway(
    socket: Path, cache: SharedCache, group: str, failure: Once, warn: Callable[[str], None]
) -> Iterator[None]:
    """Answer at a socket while the block runs; OSError where it cannot be made."""
    with open_storage(cache.location) as storage:
        gateway = Gateway(storage, group, cache.is_writable, failure, warn)
        with _listening(socket, gateway) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
            thread.start()
            try:
                yield
            finally:
                gateway.is_open = False  # nobody waits for what is not answered yet
                server.shutdown()
                thread.join()


@contextmanager
def _listening(socket: Path, gateway: Gateway) -> Iterator[_Server]:
    """Listen at a socket that only its user can connect to."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    # A path below the directory's descriptor: that of a socket has 107 bytes at most.
    directory = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _Server(f"/proc/self/fd/{directory}/{socket.name}", gateway) as server:
            server.server_bind()
            socket.chmod(0o600)
            server.server_activate()
            yield server
    finally:
        os.close(directory)
        socket.unlink(missing_ok=True)
