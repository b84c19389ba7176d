"""Bare Debian as an image: what mmdebstrap makes of the essential packages and a few others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.machine.origins import Origins

_SLIM = ("path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/locale/*")


@contextmanager
def bare_debian(suite: str, packages: str) -> Iterator[str]:
    """Yield the name of an image with `packages`, separated by commas; it is removed at the end."""
    name = f"envmatrix-test/bare:{suite}"
    options = [f"--include={packages}", *(f"--dpkgopt={option}" for option in _SLIM)]
    mirror = Origins().archive("debian")[0]
    with TemporaryDirectory(prefix="envmatrix-debian-") as directory:
        file = Path(directory, "debian.tar")
        command = ["mmdebstrap", "--quiet", "--variant=essential", *options, suite, str(file)]
        subprocess.run([*command, mirror], check=True)
        subprocess.run(["docker", "import", "--", str(file), name], check=True, capture_output=True)
    try:
        yield name
    finally:
        subprocess.run(["docker", "image", "rm", "--force", name], check=True, capture_output=True)
