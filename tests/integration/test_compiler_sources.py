"""A compiler that the operating system does not have, from a signed repository of apt: locked,
generated, built and compiled with; and what apt does not take.

No repository of compilers is asked: one on loopback has Debian's Clang under another name, signed
with a key of the test.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import ROOT, Project
from tests.loopback import Files, serving
from tests.openpgp import Key
from tests.outputs import machine_of

from envmatrix.lock import lock_file

# Its images have the names of those of the repository, which other tests build and remove.
pytestmark = pytest.mark.alone

SUITE = "llvm-toolchain-bookworm-17"
CREATED = 1767225600  # 2026-01-01
OURS = Key("ours <ours@mirror.example>", CREATED)
OTHER = Key("other <other@mirror.example>", CREATED)
MATRIX = f"""\
version: "1"
axes:
  cuda: ["12.4"]
  os: [debian12]
  compiler: [default, clang-17]
  arch: [x86_64, aarch64]
sources:
  - source: compilers
    origin: compilers-ours
    path: "{{suite}}"
    suite: "llvm-toolchain-{{suite}}-{{major}}"
    key: ours.asc
    fingerprint: {OURS.fingerprint}
    compiler: clang-17
sm: ["75", "80", "86", "90"]
libraries:
  sums: {{path: sums, artifacts: [libsums.so], test: none}}
"""
FILES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(sums LANGUAGES CXX CUDA)
message(STATUS "compiled by ${CMAKE_CXX_COMPILER}")
add_library(sums SHARED device.cu)
""",
    "device.cu": "__global__ void set(int *value) { *value = 1; }\n",
}


@dataclass(frozen=True)
class Server:
    """A repository of Clang 17, which is Debian's Clang 16 under other names."""

    root: Path
    address: str

    @property
    def suite(self) -> Path:
        return self.root / "bookworm/dists" / SUITE

    def publish(self, key: Key | None) -> None:
        """Sign the list of packages with a key, and have that key."""
        lists = [*self.suite.glob("main/*/Packages")]
        sums = "".join(
            f" {hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} "
            f"{file.relative_to(self.suite)}\n"
            for file in sorted(lists)
        )
        release = (
            f"Suite: {SUITE}\nCodename: {SUITE}\nComponents: main\nArchitectures: amd64 arm64\n"
        )
        release += f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{sums}"
        (self.suite / "Release").write_text(release)
        (self.suite / "Release.gpg").unlink(missing_ok=True)
        if key:
            (self.suite / "Release.gpg").write_bytes(key.sign(release.encode()))
            (self.root / "ours.asc").write_bytes(key.public)


def _add_package(suite: Path, tree: Path) -> None:
    """Add the package `clang-17`, which has links to the programs of `clang-16`."""
    (tree / "DEBIAN").mkdir(parents=True)
    control = "Package: clang-17\nVersion: 1:17.0.6-1\nArchitecture: all\nDepends: clang-16\n"
    control += "Maintainer: nobody <nobody@mirror.example>\nDescription: links\n"
    (tree / "DEBIAN/control").write_text(control)
    (tree / "usr/bin").mkdir(parents=True)
    for name in ("clang", "clang++"):
        (tree / f"usr/bin/{name}-17").symlink_to(f"{name}-16")
    pool = suite.parents[1] / "pool"
    pool.mkdir(parents=True)
    file = pool / "clang-17_17.0.6-1_all.deb"
    pack = ["dpkg-deb", "-Zgzip", "--root-owner-group", "--build", str(tree), str(file)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(CREATED)}
    subprocess.run(pack, check=True, capture_output=True, env=environment)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = f"{control}Filename: pool/{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
    for arch in ("amd64", "arm64"):
        packages = suite / f"main/binary-{arch}/Packages"
        packages.parent.mkdir(parents=True)
        packages.write_text(entry)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("compilers")
    with serving(Files.below(root)) as address:
        started = Server(root, address)
        _add_package(started.suite, tmp_path_factory.mktemp("package") / "tree")
        yield started


@pytest.fixture(scope="module")
def project(
    engine: docker.DockerClient, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("project")
    root = directory / "repository"
    shutil.copytree(ROOT / "envs", root / "envs", ignore=shutil.ignore_patterns("analysis.yaml"))
    shutil.copy(ROOT / lock_file.FILE, root)
    (root / "sums").mkdir()
    for name, text in FILES.items():
        (root / "sums" / name).write_text(text)
    (root / "matrix.yaml").write_text(MATRIX)
    project = Project(root, {"XDG_CONFIG_HOME": str(directory / "config")})
    project.configure(f'[mirrors]\ncompilers-ours = "{server.address}"\n')
    yield project
    for image in engine.images.list("envmatrix/cuda12.4-debian12"):
        for name in image.tags:
            if re.search(r":(devel|cross)-clang17", name):
                engine.images.remove(name)


@pytest.mark.parametrize(
    ("signer", "reason"), [(OTHER, "NO_PUBKEY|Missing key|is not signed"), (None, "is not signed")]
)
def test_a_repository_without_the_right_signature_is_not_taken(
    server: Server, project: Project, signer: Key | None, reason: str
) -> None:
    server.publish(signer)
    message = project.run("lock", expect=5).stderr
    assert f"apt does not take `{SUITE}` from {server.address}/bookworm" in message
    assert re.search(reason, message)
    assert f"signed with the key {OURS.fingerprint}, which is in `ours.asc` there" in message


def test_a_compiler_of_a_repository_is_locked_and_compiles(
    server: Server, project: Project
) -> None:
    server.publish(OURS)
    project.lock()
    lock = lock_file.load(project.root)
    for key in ("debian12-amd64-devel-gcc12-clang17", "debian12-amd64-cross-gcc12-arm64-clang17"):
        (item,) = [row for row in lock.sets[key].artifacts if row.origin == "compilers-ours"]
        assert (item.name, item.version) == ("clang-17", "1:17.0.6-1")
        assert item.path == "bookworm/pool/clang-17_17.0.6-1_all.deb"
        assert "clang-16" in {row.name for row in lock.sets[key].artifacts}
    assert server.address not in (project.root / lock_file.FILE).read_text()
    for arch, compiler in (("x86_64", "clang++-17"), ("aarch64", "aarch64-linux-gnu-clang++-17")):
        cell = f"cuda12.4-debian12-clang17-{arch}"
        project.run("run", "compile", cell)
        (library,) = (project.root / "build" / cell).glob("sums/*/libsums.so")
        assert machine_of(library) == arch
        (log,) = (project.root / "build" / cell / "sums").glob("configure.log")
        assert f"{compiler}\n" in log.read_text()
