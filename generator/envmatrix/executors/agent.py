"""The program beside a task in its pod: fetches the inputs before, and collects the outputs after.

It runs as text, in an image with Python 3.9 or later, so it imports nothing but the standard
library and what its text includes. It trusts the task in nothing: it only reads pipes and files
that the task writes. Its configuration is in an environment variable, as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import select
import ssl
import sys
import tarfile
import time
import urllib.parse
from typing import Any

from envmatrix.confined.packing import pack

CONTROL = "/run/envmatrix/control"
INPUTS = "/run/envmatrix/inputs"
OUTPUTS = "/run/envmatrix/outputs"
WORK = "/run/envmatrix/work"
LOGIN = "/run/envmatrix/login"

# The annotation of a manifest with the time when it was made.
CREATED = "org.opencontainers.image.created"
TIME = "%Y-%m-%dT%H:%M:%SZ"

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_TAR = "application/vnd.oci.image.layer.v1.tar"
_RESULT = "application/vnd.envmatrix.result.v1+json"
_ATTEMPTS = 8
_CHUNK = 1 << 20
# Bytes of output in one line of the log.
_PIECE = 6 << 10
# Of recorded output, in bytes: what comes later is only in the log of the pod.
_MOST_RECORDED = 192 << 20
_MOST_STDOUT = 64 << 20
_LOOK_SECONDS = 0.25
_HEARTBEAT_SECONDS = 5.0
# How long a task that was told to stop may take to close its output.
_PARTING_SECONDS = 10.0


class _Repository:
    """The repository of inputs and results in a registry."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._host, self._name = settings["host"], settings["name"]
        self._is_plain = settings["plain_http"]
        self._authorization = ""

    def fetch(self, digest: str, file: str) -> None:
        """Write a blob to a file; ValueError where its content is another one."""
        actual = hashlib.sha256()
        response = self._request("GET", f"/v2/{self._name}/blobs/{digest}")
        with open(file, "wb") as target:  # noqa: PTH123
            while chunk := response.read(_CHUNK):
                actual.update(chunk)
                target.write(chunk)
        if f"sha256:{actual.hexdigest()}" != digest:
            raise ValueError(f"the registry has something else as {digest}")

    def push(self, file: str) -> dict[str, Any]:
        """Store a file unless the registry has it; return its descriptor."""
        digest, size = _digest(file), os.path.getsize(file)  # noqa: PTH202
        if self._request("HEAD", f"/v2/{self._name}/blobs/{digest}", accept=(404,)).status == 404:
            started = self._request("POST", f"/v2/{self._name}/blobs/uploads/", accept=(202,))
            place = urllib.parse.urljoin(f"//{self._host}", started.headers["Location"])
            parts = urllib.parse.urlsplit(place)
            query = f"{parts.query}&" if parts.query else ""
            target = f"{parts.path}?{query}digest={digest}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            with open(file, "rb") as content:  # noqa: PTH123
                self._request("PUT", target, content, headers)
        return {"mediaType": _TAR, "digest": digest, "size": size}

    def tag(self, tag: str, manifest: dict[str, Any]) -> None:
        body = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        target = f"/v2/{self._name}/manifests/{tag}"
        self._request("PUT", target, body, {"Content-Type": _MANIFEST})

    def _request(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> http.client.HTTPResponse:
        """Send a request, again on errors that may be over in a moment."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(2**attempt / 4, 15))
            if hasattr(body, "seek"):
                body.seek(0)
            try:
                response = self._send(method, target, body, dict(headers or {}))
            except OSError as error:
                problem = str(error)
                continue
            if response.status in (200, 201, 202, *accept):
                return response
            problem = f"{response.status} {response.read(500)!r}"
            if response.status == 401:
                self._authorize(response.headers.get("WWW-Authenticate", ""))
        raise OSError(f"{method} {target} of the registry {self._host}: {problem}")

    def _send(
        self, method: str, target: str, body: Any, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        if self._authorization:
            headers["Authorization"] = self._authorization
        connection = _connection(self._host, is_plain=self._is_plain)
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        for _ in range(5):  # storage elsewhere, which gets no login
            if response.status not in (301, 302, 303, 307, 308) or method != "GET":
                break
            place = urllib.parse.urljoin(
                f"https://{self._host}{target}", response.headers["Location"]
            )
            parts = urllib.parse.urlsplit(place)
            connection = _connection(parts.netloc, is_plain=parts.scheme == "http")
            connection.request("GET", f"{parts.path}?{parts.query}")
            response = connection.getresponse()
        return response

    def _authorize(self, challenge: str) -> None:
        """Log in, by https://distribution.github.io/distribution/spec/auth/token/."""
        login = _login(self._host)
        if not challenge.lower().startswith("bearer"):
            self._authorization = f"Basic {login}"
            return
        words = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        parts = urllib.parse.urlsplit(words["realm"])
        query = urllib.parse.urlencode(
            {key: words[key] for key in ("service", "scope") if key in words}
        )
        connection = _connection(parts.netloc, is_plain=parts.scheme == "http")
        headers = {"Authorization": f"Basic {login}"} if login else {}
        connection.request("GET", f"{parts.path}?{query}", None, headers)
        answer = json.loads(connection.getresponse().read())
        self._authorization = f"Bearer {answer.get('token') or answer['access_token']}"


def _connection(host: str, *, is_plain: bool) -> http.client.HTTPConnection:
    if is_plain:
        return http.client.HTTPConnection(host, timeout=60)
    context = ssl.create_default_context()
    authority = f"{LOGIN}/ca.crt"
    if os.path.exists(authority):  # noqa: PTH110
        context.load_verify_locations(authority)
    return http.client.HTTPSConnection(host, timeout=60, context=context)


def _login(host: str) -> str:
    """Return the encoded user and password for a host, as a secret of Kubernetes has them."""
    try:
        with open(f"{LOGIN}/.dockerconfigjson", encoding="utf-8") as file:  # noqa: PTH123
            account = json.load(file)["auths"].get(host, {})
    except OSError:
        return ""
    if "auth" in account:
        return str(account["auth"])
    pair = f"{account.get('username', '')}:{account.get('password', '')}"
    return base64.b64encode(pair.encode()).decode()


def _digest(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content:  # noqa: PTH123
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def fetch(settings: dict[str, Any]) -> None:
    """Prepare the pod: the inputs, the areas and the pipes of the task."""
    repository = _Repository(settings["repository"])
    for place, digest in settings["trees"].items():
        os.makedirs(place, exist_ok=True)  # noqa: PTH103
        if digest:
            repository.fetch(digest, f"{WORK}/input")
            unpack(f"{WORK}/input", place)
            os.unlink(f"{WORK}/input")  # noqa: PTH108
    for name, text in settings["files"].items():
        with open(f"{CONTROL}/{name}", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
    for name in ("stdout", "stderr", "status"):
        os.mkfifo(f"{CONTROL}/{name}", 0o600)


def unpack(archive: str, place: str) -> None:
    """Unpack a tar of ours to a directory; links are made last, so nothing is written through
    one."""
    links = []
    with tarfile.open(archive, "r:") as entries:
        for entry in entries:
            parts = entry.name.split("/")
            if entry.name.startswith("/") or ".." in parts:
                raise ValueError(f"{entry.name!r} leads out of the archive")
            path = f"{place}/{entry.name}"
            if entry.isdir():
                os.makedirs(path, exist_ok=True)  # noqa: PTH103
            elif entry.issym():
                links.append((entry.linkname, path))
            elif entry.isreg():
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
                _write(entries.extractfile(entry), path, entry)
    for target, path in links:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.symlink(target, path)  # noqa: PTH211


def _write(content: Any, path: str, entry: tarfile.TarInfo) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        while chunk := content.read(_CHUNK):
            file.write(chunk)
        os.fchmod(file.fileno(), entry.mode & 0o777)
    nanoseconds = round(entry.mtime * 10**6) * 1000
    os.utime(path, ns=(nanoseconds, nanoseconds))


class _Recording:
    """The output of the task: printed as lines with their offsets, and recorded in a file."""

    def __init__(self, file: str) -> None:
        self.size = self.stdout = 0
        self._file = open(file, "wb")  # noqa: PTH123, SIM115

    def add(self, stream: int, printed: bytes) -> None:
        for start in range(0, len(printed), _PIECE):
            piece = printed[start : start + _PIECE]
            line = b"%d %d %s\n" % (stream, self.size, base64.b64encode(piece))
            if self.size < _MOST_RECORDED:
                self._file.write(line)
            _print(line)
            self.size += len(piece)
        self.stdout += len(printed) if stream == 0 else 0

    def close(self) -> None:
        self._file.close()


def _print(line: bytes) -> None:
    while line:
        line = line[os.write(1, line) :]


class _Follower:
    """Takes the output of the task until its container ends, and stops it at its limits.

    The shell of the task has the pipe `status` open as long as its container lives.
    """

    def __init__(self, settings: dict[str, Any], recording: _Recording) -> None:
        self._settings, self._recording = settings, recording
        self._pipes = {
            os.open(f"{CONTROL}/{name}", os.O_RDONLY | os.O_NONBLOCK): name
            for name in ("stdout", "stderr", "status")
        }
        self._poll = select.poll()
        for descriptor in self._pipes:
            self._poll.register(descriptor, select.POLLIN)
        self._status = b""
        self._began: float | None = None
        self._ended: float | None = None
        self.stopped: str | None = None

    def follow(self) -> None:
        printed_at = time.monotonic()
        while self._pipes and not self._is_overdue():
            events = self._poll.poll(_LOOK_SECONDS * 1000)
            for descriptor, event in sorted(events):
                self._take(descriptor, event)
            if events:
                printed_at = time.monotonic()
            elif time.monotonic() - printed_at > _HEARTBEAT_SECONDS:
                printed_at = time.monotonic()
                _print(b"\n")  # whoever follows sees that the connection is alive
            self._watch_limits()

    def _take(self, descriptor: int, event: int) -> None:
        name = self._pipes[descriptor]
        chunk = os.read(descriptor, 1 << 16) if event & select.POLLIN else b""
        if name != "status":
            self._recording.add(0 if name == "stdout" else 1, chunk)
        else:
            self._began = self._began or time.monotonic()
            self._status = (self._status + chunk)[-99:]
        if not chunk:  # the last writer has closed it
            self._poll.unregister(descriptor)
            os.close(descriptor)
            del self._pipes[descriptor]
            if name == "status":
                self._ended = self._ended or time.monotonic()

    def _watch_limits(self) -> None:
        if self._ended is not None or self._began is None:
            return
        self.stopped = self._exceeded(time.monotonic() - self._began)
        if self.stopped:
            self._ended = time.monotonic()
            os.close(os.open(f"{CONTROL}/stop", os.O_CREAT | os.O_WRONLY, 0o644))

    def _exceeded(self, seconds: float) -> str | None:
        limits = self._settings["limits"]
        if limits["seconds"] is not None and seconds > limits["seconds"]:
            return "timeout"
        disk = os.statvfs(OUTPUTS)
        if limits["free_disk"] is not None and disk.f_bavail * disk.f_frsize < limits["free_disk"]:
            return "disk"
        is_flood = self._settings["keeps_stdout"] and self._recording.stdout > _MOST_STDOUT
        return "output" if is_flood else None

    def _is_overdue(self) -> bool:
        """Return whether a task that ended, or was told to, has its output open for too long."""
        return self._ended is not None and time.monotonic() - self._ended > _PARTING_SECONDS

    @property
    def end(self) -> tuple[int, bool]:
        """The status of the program, and whether the kernel killed a process for its memory;
        without a word of the shell, it was killed as well."""
        match = re.search(rb"\nended (\d{1,3}) (\d{1,9})\n$", self._status)
        return (int(match[1]), int(match[2]) > 0) if match else (137, False)


def collect(settings: dict[str, Any]) -> None:
    """Follow the task to its end, and push its outputs, its log and its result."""
    recording = _Recording(f"{WORK}/log")
    follower = _Follower(settings, recording)
    follower.follow()
    recording.close()
    status, is_out_of_memory = follower.end
    repository = _Repository(settings["repository"])
    layers = []
    outputs = settings["outputs"] if follower.stopped != "disk" else []
    for place in outputs:
        top = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        with open(f"{WORK}/output", "wb") as file:  # noqa: PTH123
            pack(top, file)
        os.close(top)
        layers.append(repository.push(f"{WORK}/output"))
    log = repository.push(f"{WORK}/log")
    result = {
        "status": 124 if follower.stopped == "timeout" else status,
        "stopped": follower.stopped,
        "out_of_memory": is_out_of_memory,
        "outputs": [layer["digest"] for layer in layers],
        "log": log["digest"],
        "printed": recording.size,
    }
    with open(f"{WORK}/result", "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(result, file, sort_keys=True)
    config = {**repository.push(f"{WORK}/result"), "mediaType": _RESULT}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": _RESULT,
        "config": config,
        "layers": [*layers, log],
        "annotations": {CREATED: present_time()},
    }
    repository.tag(settings["tag"], manifest)


def present_time() -> str:
    return time.strftime(TIME, time.gmtime())


def main() -> None:
    settings = json.loads(os.environ["AGENT_SETTINGS"])
    try:
        {"fetch": fetch, "collect": collect}[sys.argv[1]](settings)
    except Exception as error:
        with open("/dev/termination-log", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{type(error).__name__}: {error}"[:4000])
        raise SystemExit(1) from None
