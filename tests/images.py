"""Images that tests need beside those that they test, made once for this machine."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory


def made(name: str, dockerfile: str, files: Mapping[str, bytes] | None = None) -> str:
    """An image of a Dockerfile with `files` beside it: `name`, tagged with a hash of all that.

    It takes the place of an earlier one. Its layers are not compressed: that would take longer
    than to make them.
    """
    inputs = {**(files or {}), "Dockerfile": dockerfile.encode()}
    digest = hashlib.sha256(repr(sorted(inputs.items())).encode()).hexdigest()
    reference = f"{name}:{digest[:12]}"
    known = _docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", name).split()
    if reference in known:
        return reference
    if known:
        _docker("image", "rm", "--force", *known)
    output = f"--output=type=image,name={reference},compression=uncompressed"
    with TemporaryDirectory(prefix="envmatrix-image-") as context:
        for file, content in inputs.items():
            Path(context, file).write_bytes(content)
        _docker("build", "--quiet", "--network=host", output, context)
    return reference


def with_package(name: str, base: str, archive: str, package: str, entrypoint: str) -> str:
    """Of `base` with a package of Debian 12, whose packages are at `archive`."""
    install = f"apt-get update && apt-get install -y --no-install-recommends {package}"
    dockerfile = (
        f"FROM {base}\n"
        f"RUN echo 'deb {archive} bookworm main' >/etc/apt/sources.list && {install}\n"
        f"ENTRYPOINT [{entrypoint}]\n"
    )
    return made(name, dockerfile)


def _docker(*arguments: str) -> str:
    command = ["docker", *arguments]
    return subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout
