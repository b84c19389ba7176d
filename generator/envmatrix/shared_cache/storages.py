"""Storages of compiled objects: Redis, HTTP, S3, and a directory. Logins stay on this side: no
container sees them."""

from __future__ import annotations

import errno
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from envmatrix.errors import EnvmatrixError
from envmatrix.files import open_regular
from envmatrix.machine.access import Access
from envmatrix.machine.http import GONE, http_client
from envmatrix.records import dataclass
from envmatrix.shared_cache.protocol import MOST_VALUE
from envmatrix.shared_cache.signature import region_of, signature_of

CONNECT_SECONDS = 1.0
# The longest pause within an answer, and the longest answer. A storage that is slower than a
# compiler is worth nothing.
PAUSE_SECONDS = 3.0
_ANSWER_SECONDS = 10.0

# What a storage raises if it does not answer, or refuses.
FAILURES = (OSError, httpx.HTTPError, httpx.InvalidURL, EnvmatrixError)


class Storage(Protocol):
    """Contents by name, from any thread; raises one of FAILURES."""

    def get(self, name: str) -> bytes | None:
        """Return the content of a name; None where there is none, or more than MOST_VALUE."""

    def put(self, name: str, content: bytes) -> None:
        """Store a content in one step: nobody reads a part of it."""


@contextmanager
def open_storage(location: str) -> Iterator[Storage]:
    """Open a storage by its URL or directory; it is connected to when it is used."""
    if location.startswith("/"):
        yield DirectoryStorage(Path(location))
        return
    parts = urlsplit(location)
    if parts.scheme.startswith("redis"):
        with RedisStorage.opened(parts) as storage:
            yield storage
        return
    with http_client() as client:
        if parts.scheme == "s3":
            location = bucket_url(parts, os.environ)
            if signature := signature_of(os.environ):
                client.auth = signature
        yield HttpStorage(client, location.rstrip("/"))


@dataclass(frozen=True, slots=True)
class DirectoryStorage:
    """Files below a directory, which exists."""

    root: Path

    def get(self, name: str) -> bytes | None:
        try:
            with open_regular(self.root / name) as file:
                return _of_allowed_size(file.read(MOST_VALUE + 1))
        except FileNotFoundError:
            self._require_root()
            return None

    def put(self, name: str, content: bytes) -> None:
        self._require_root()
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f".{uuid.uuid4().hex}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(scratch, flags, 0o666), "wb") as handle:
                handle.write(content)
            scratch.replace(file)
        finally:
            scratch.unlink(missing_ok=True)

    def _require_root(self) -> None:
        if not self.root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "there is no such directory", str(self.root))


@dataclass(frozen=True, slots=True)
class HttpStorage:
    """A server that answers GET and takes PUT."""

    client: httpx.Client
    base: str

    def get(self, name: str) -> bytes | None:
        content = bytearray()
        end = time.monotonic() + _ANSWER_SECONDS
        url = f"{self.base}/{name}"
        with self.client.stream("GET", url, timeout=_TIMEOUT) as response:
            if response.status_code in GONE:
                return None
            response.raise_for_status()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MOST_VALUE:
                    return None
                _check_time(end)
        return bytes(content)

    def put(self, name: str, content: bytes) -> None:
        url = f"{self.base}/{name}"
        response = self.client.put(url, content=content, timeout=_TIMEOUT)
        response.raise_for_status()


_TIMEOUT = httpx.Timeout(PAUSE_SECONDS, connect=CONNECT_SECONDS)


def bucket_url(parts: SplitResult, environment: Mapping[str, str]) -> str:
    """Return the URL of the entries of a bucket, at the endpoint that AWS's programs would use."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = next(filter(None, map(environment.get, names)), None)
    if endpoint:
        base = f"{endpoint.rstrip('/')}/{parts.netloc}"
    else:
        base = f"https://{parts.netloc}.s3.{region_of(environment)}.amazonaws.com"
    return f"{base}{parts.path}"


@dataclass(frozen=True, slots=True)
class RedisStorage:
    """A Redis server. Connections stay open for the next request."""

    parts: SplitResult
    access: Access
    _idle: list[RedisConnection] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(cls, parts: SplitResult) -> Iterator[RedisStorage]:
        storage = cls(parts, Access())
        try:
            yield storage
        finally:
            for connection in storage._idle:
                connection.close()

    def get(self, name: str) -> bytes | None:
        return self._ask(b"GET", _redis_key(name))

    def put(self, name: str, content: bytes) -> None:
        self._ask(b"SET", _redis_key(name), content)

    def _ask(self, *words: bytes) -> bytes | None:
        while True:
            try:  # one that the server has closed since its last request is replaced
                connection, is_new = self._idle.pop(), False
            except IndexError:
                connection, is_new = RedisConnection.to(self.parts, self.access), True
            try:
                answer = connection.ask(*words)
            except OSError as error:
                connection.close()
                if is_new or not isinstance(error, ConnectionError):
                    raise
            else:
                self._idle.append(connection)
                return answer


def _redis_key(name: str) -> bytes:
    return f"envmatrix/{name}".encode()


@dataclass(frozen=True, slots=True)
class RedisConnection:
    socket: socket.socket
    stream: IO[bytes]

    @classmethod
    def to(cls, parts: SplitResult, access: Access) -> RedisConnection:
        """Connect to the server of a URL, and log in."""
        host, port = parts.hostname or "", parts.port or 6379
        client = socket.create_connection((host, port), CONNECT_SECONDS)
        try:
            client.settimeout(PAUSE_SECONDS)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if parts.scheme == "rediss":
                client = access.context.wrap_socket(client, server_hostname=host)
            connection = cls(client, client.makefile("rb"))
            if login := _redis_login(parts, access):
                connection.ask(b"AUTH", *login)
            if database := parts.path.strip("/"):
                connection.ask(b"SELECT", database.encode())
        except (OSError, EnvmatrixError):
            client.close()
            raise
        return connection

    def ask(self, *words: bytes) -> bytes | None:
        """Send a command; return the value of its answer, if it has one."""
        end = time.monotonic() + _ANSWER_SECONDS
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
        self.socket.sendall(b"".join(parts))
        line = self.stream.readline(1024)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection, or is no Redis")
        sign, text = line[:1], line[1:-2]
        if sign == b"-":
            raise OSError(f"the server answered `{text.decode('ascii', 'replace')}`")
        if sign != b"$" or text == b"-1":
            return None
        return self._value(text, end)

    def _value(self, size: bytes, end: float) -> bytes | None:
        if not size.isdigit() or int(size) > MOST_VALUE:
            raise OSError("an entry is larger than any of ours")
        content, missing = bytearray(), int(size) + 2
        while missing:
            chunk = self.stream.read(min(missing, 1 << 20))
            if not chunk:
                raise ConnectionError("the server closed the connection")
            content += chunk
            missing -= len(chunk)
            _check_time(end)
        return bytes(content[:-2])

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


def _redis_login(parts: SplitResult, access: Access) -> tuple[bytes, ...]:
    """Return the user and the password of a URL, or those of a netrc for its host; nothing without
    a password."""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not password:
        url = httpx.URL(f"https://{parts.hostname}:{parts.port or 6379}")
        entry = next(
            (entry for entry in access.netrc if entry.is_for(url, needs_https=False)), None
        )
        user, password = (entry.user, entry.password) if entry else ("", "")
    return tuple(word.encode() for word in (user, password) if word) if password else ()


def _of_allowed_size(content: bytes) -> bytes | None:
    return content if len(content) <= MOST_VALUE else None


def _check_time(end: float) -> None:
    if time.monotonic() > end:
        raise TimeoutError(f"an answer takes longer than {_ANSWER_SECONDS:.0f} seconds")
