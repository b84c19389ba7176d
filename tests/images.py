"""Images that tests need beside those that they test. Their layers are not compressed: that would
take longer than to make them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import docker

from envmatrix.machine.cache import cache_directory, exclusive


def build_once(name: str, dockerfile: str, files: Mapping[str, bytes] | None = None) -> str:
    """Return an image of a Dockerfile with `files` beside it, made once for this machine:
    `name`, tagged with a hash of all that.

    It takes the place of an earlier one.
    """
    inputs = {**(files or {}), "Dockerfile": dockerfile.encode()}
    digest = hashlib.sha256(repr(sorted(inputs.items())).encode()).hexdigest()
    reference = f"{name}:{digest[:12]}"
    with exclusive(cache_directory() / "tests/images.lock"):
        present = _docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", name).split()
        if reference not in present:
            if present:
                _docker("image", "rm", "--force", *present)
            build(reference, inputs)
    return reference


def build(reference: str, files: Mapping[str, bytes]) -> None:
    """Build an image of a Dockerfile and the files beside it."""
    output = f"--output=type=image,name={reference},compression=uncompressed"
    with TemporaryDirectory(prefix="envmatrix-image-") as context:
        for file, content in files.items():
            Path(context, file).write_bytes(content)
        _docker("build", "--quiet", "--network=host", output, context)


def pushed(client: docker.DockerClient, reference: str) -> str:
    """Push an image and remove its name `reference` here; return its name by digest."""
    name, _, tag = reference.rpartition(":")
    output = client.images.push(name, tag)
    assert "error" not in output, output
    digest = client.images.get(reference).attrs["RepoDigests"][0].split("@")[1]
    client.images.remove(reference, force=True)
    return f"{name}@{digest}"


def with_package(name: str, base: str, archive: str, package: str, entrypoint: str) -> str:
    """Build an image of `base` with a package of Debian 12, whose archive is at `archive`."""
    install = f"apt-get update && apt-get install -y --no-install-recommends {package}"
    dockerfile = (
        f"FROM {base}\n"
        f"RUN echo 'deb {archive} bookworm main' >/etc/apt/sources.list && {install}\n"
        f"ENTRYPOINT [{entrypoint}]\n"
    )
    return build_once(name, dockerfile)


def _docker(*arguments: str) -> str:
    command = ["docker", *arguments]
    return subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout
