"""Real registries for tests: Debian's docker-registry in a container of the project's own base,
with passwords and TLS where asked for, on a free port of loopback."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import httpx
import trustme

# Read when testcontainers is imported: its reaper comes from a registry that may be out of reach.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from tests.images import with_package

IMAGE = "envmatrix-test/registry"
PORT = 5000
_DATA = "/var/lib/registry"
_PLACE = "/etc/envmatrix-test"


@dataclass(frozen=True, slots=True)
class RealRegistry:
    """`host` is its address with the port; `ca` the file of who signed its certificate, if any."""

    host: str
    container: DockerContainer
    ca: Path | None

    def repository(self, name: str) -> str:
        return f"{self.host}/{name}"

    def spoil(self, digest: str) -> None:
        """Turn the first bytes of a blob into others, as a disk might."""
        self._in_blob(digest, "printf spoiled | dd of={} conv=notrunc status=none")

    def lose(self, digest: str) -> None:
        """Have a blob no longer."""
        self._in_blob(digest, "rm {}")

    def _in_blob(self, digest: str, command: str) -> None:
        hexadecimal = digest.removeprefix("sha256:")
        file = f"{_DATA}/docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
        done = self.container.exec(["sh", "-c", command.format(file)])
        assert done.exit_code == 0, done.output


def image(base: str, archive: str) -> str:
    """Return the name of an image with a registry, built on `base`, whose packages are at
    `archive`; or the one that $ENVMATRIX_TEST_REGISTRY names."""
    if name := os.environ.get("ENVMATRIX_TEST_REGISTRY"):
        return name
    return with_package(IMAGE, base, archive, "docker-registry", '"docker-registry"')


@contextmanager
def serve(
    image: str, home: Path, *, passwords: Mapping[str, str] | None = None, tls: bool = False
) -> Iterator[RealRegistry]:
    """A registry that is empty, and gone at the end; `home` is an empty directory for its files."""
    authority = trustme.CA() if tls else None
    _configure(home, passwords or {}, authority)
    container = (
        DockerContainer(image)
        .with_command(f"serve {_PLACE}/config.yml")
        .with_volume_mapping(str(home), _PLACE)
        .with_exposed_ports(PORT)
        .waiting_for(LogMessageWaitStrategy("listening on"))
    )
    with container as started:
        host = f"127.0.0.1:{started.get_exposed_port(PORT)}"
        _await(f"{'https' if tls else 'http'}://{host}/v2/")
        yield RealRegistry(host, started, home / "ca.pem" if tls else None)


def _configure(home: Path, passwords: Mapping[str, str], authority: trustme.CA | None) -> None:
    http: dict[str, object] = {"addr": f":{PORT}"}
    document: dict[str, object] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": _DATA}, "delete": {"enabled": True}},
        "http": http,
    }
    if passwords:
        rows = (
            f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
            for user, password in passwords.items()
        )
        (home / "htpasswd").write_text("".join(rows))
        document["auth"] = {"htpasswd": {"realm": "test", "path": f"{_PLACE}/htpasswd"}}
    if authority:
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(home / "server.pem"))
        authority.cert_pem.write_to_path(str(home / "ca.pem"))
        http["tls"] = {"certificate": f"{_PLACE}/server.pem", "key": f"{_PLACE}/server.pem"}
    (home / "config.yml").write_text(json.dumps(document))  # which YAML includes


def _await(url: str) -> None:
    """Wait for the port that the engine publishes, which may answer after the registry listens."""
    for _ in range(100):
        try:
            httpx.get(url, verify=False)  # noqa: S501 -- a certificate of the test's own
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"nothing answers at {url}")


def log_in(directory: Path, host: str, user: str, password: str) -> None:
    """Write what `docker login` leaves in `directory`, which $DOCKER_CONFIG may name."""
    account = base64.b64encode(f"{user}:{password}".encode()).decode()
    _write_config(directory, {"auths": {host: {"auth": account}}})


def log_in_by_helper(directory: Path, host: str, user: str, password: str) -> Path:
    """Log in as `log_in` does, by a credential helper in `directory`, which must be on $PATH."""
    answer = json.dumps({"ServerURL": host, "Username": user, "Secret": password})
    helper = directory / "docker-credential-test"
    helper.parent.mkdir(parents=True, exist_ok=True)
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\ncat <<'EOF'\n{answer}\nEOF\n")
    helper.chmod(0o755)
    _write_config(directory, {"credHelpers": {host: "test"}})
    return helper


def _write_config(directory: Path, document: Mapping[str, object]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(document))
