"""The tool on a machine of another architecture, by QEMU: Python, Docker's client and what the tool
needs, on one of our own bases. Its paths are those of this machine, for the engine mounts them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes import Silent

from envmatrix.console import Console
from envmatrix.engine.resolver_backend import LocalBackend
from envmatrix.facts.model import load_facts
from envmatrix.facts.targets import MACHINES
from envmatrix.images.environments import base_image
from envmatrix.lock.model import Lock
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher

ROOT = Path(__file__).parents[1]
SOCKET = Path("/var/run/docker.sock")
PYTHON = "3.11"
_TAGS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")


@dataclass(frozen=True)
class Userland:
    """A machine of `arch`, by Docker's name, that works in `home`."""

    image: str
    arch: str
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, *command: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        paths = {self.home, ROOT, cache_directory(), SOCKET}
        variables = {
            "HOME": str(self.home),
            "ENVMATRIX_CACHE": str(cache_directory()),
            "PYTHONPATH": f"{ROOT / 'generator'}:{self.home / 'site'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables,
        }
        done = subprocess.run(
            [
                "docker", "run", "--rm", f"--platform=linux/{self.arch}", "--network=host",
                "--hostname=userland",
                f"--user={os.getuid()}:{os.getgid()}", f"--group-add={SOCKET.stat().st_gid}",
                *(f"--volume={path}:{path}" for path in sorted(paths)),
                *(f"--env={name}={value}" for name, value in variables.items()),
                f"--workdir={self.home / 'repository'}", self.image, *command,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def envmatrix(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("python3", "-m", "envmatrix", *arguments, expect=expect)


def userland(lock: Lock, arch: str, home: Path) -> Userland:
    """Build one on the base of Debian 12 that `lock` has, which the engine must have too."""
    key = f"debian12-{arch}-base"
    packages = home / "packages"
    _unpack(lock, key, arch, home / "indexes", packages)
    install_dependencies(arch, home / "site")
    base = lock.sets[key]
    (home / "Dockerfile").write_text(f"FROM {base_image(key, base)}\nCOPY packages/ /\n")
    (home / ".dockerignore").write_text("*\n!packages\n")
    name = f"test/userland:{arch}"
    build = ["docker", "build", "--quiet", f"--platform=linux/{arch}", f"--tag={name}", str(home)]
    subprocess.run(build, check=True, env={**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"})
    return Userland(name, arch, home)


def _unpack(lock: Lock, base: str, arch: str, indexes: Path, target: Path) -> None:
    """Unpack Python, and programs of Docker of Debian 13, as the engine of Debian 12 is too old."""
    installed = {item.name for item in lock.sets[base].artifacts}
    indexes.mkdir()
    with http_client() as client:
        store = Store.of_user()
        fetcher = Fetcher(store, Origins(), client)
        backend = LocalBackend(
            indexes, cache_directory(), fetcher, Console(-1), load_facts(), "amd64"
        )
        python = backend.apt_of_host("bookworm", arch).closure(["python3"])
        files = [item for item in python if item.name not in installed]
        files += backend.apt_of_host("trixie", arch).exactly(["docker-cli", "docker-buildx"])
        fetcher.fetch(sorted(files), Silent())
    (target / "usr/lib").mkdir(parents=True)
    (target / "lib").symlink_to("usr/lib")
    for item in files:
        package = str(store.path(item))
        unpack = ["tar", "--extract", "--keep-directory-symlink", f"--directory={target}"]
        read = ["dpkg-deb", "--fsys-tarfile", package]
        with subprocess.Popen(read, stdout=subprocess.PIPE) as contents:
            subprocess.run(unpack, check=True, stdin=contents.stdout)
        assert contents.returncode == 0
    (target / "lib").unlink()  # the base has this link itself


def install_dependencies(arch: str, site: Path, python: str = PYTHON) -> None:
    """Install what envmatrix depends on, as wheels for another machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    platforms = [f"--platform={tag}_{MACHINES[arch].wheel}" for tag in _TAGS]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", f"--target={site}", *platforms,
            f"--python-version={python}", "--implementation=cp", "--only-binary=:all:",
            *project["dependencies"],
        ],
        check=True,
    )  # fmt: skip
