"""CUDA from an apt repository like NVIDIA's: locked, generated, built and compiled with; and what
apt does not take.

NVIDIA's server is not asked: packages of the same form are made of the wheels that the
repository's own cell locks, signed with a key of the test, and served on loopback.
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

import pytest
from tests.integration.conftest import VECTOROPS, Project
from tests.loopback import Files, serving
from tests.openpgp import Key
from tests.wheels import PACKAGES, toolkit_wheels, unpack_package

from envmatrix.facts.model import load_facts
from envmatrix.lock import lock_file

# A release of its own: the images of the repository's matrix keep their names. The files are
# those of 13.5.
RELEASE = "13.2"
ENVIRONMENT = f"cuda{RELEASE}-debian12"
CELLS = (f"{ENVIRONMENT}-x86_64", f"{ENVIRONMENT}-aarch64")
MATRIX = f"""\
version: "1"
axes:
  cuda: ["{RELEASE}"]
  os: [debian12]
  arch: [x86_64, aarch64]
sources:
  - {{source: nvidia-apt}}
sm: ["90"]
libraries:
  {VECTOROPS}"""

REPOSITORIES = {"amd64": "x86_64", "arm64": "sbsa"}
TARGETS = {"amd64": "x86_64-linux", "arm64": "sbsa-linux"}

CREATED = 1767225600  # 2026-01-01
NVIDIA = load_facts().nvidia_repositories["debian12"]
OURS = Key("ours <ours@mirror.example>", CREATED)
OTHER = Key("other <other@mirror.example>", CREATED)
EXPIRED = Key("expired <expired@mirror.example>", CREATED, lifetime=86400)


def _package(directory: Path, package: str, arch: str, wheel: Path) -> None:
    """Make one of NVIDIA's packages of a wheel in `directory`, with its entry in the list."""
    full = f"{package.format(dev='dev')}-{RELEASE.replace('.', '-')}"
    version = f"{RELEASE}.51-1"
    tree = directory / "tree"
    root = tree / f"usr/local/cuda-{RELEASE}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {full}\nVersion: {version}\nArchitecture: {arch}\n"
    control += "Maintainer: nobody <nobody@mirror.example>\nDescription: made of a wheel\n"
    (tree / "DEBIAN/control").write_text(control)
    unpack_package(package, wheel, root, root / "targets" / TARGETS[arch])
    file = directory / f"{full}_{version}_{arch}.deb"
    pack = ["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", str(tree), str(file)]
    # The same files are the same package: the store does not grow with each run.
    subprocess.run(
        pack, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(CREATED)}
    )
    shutil.rmtree(tree)
    with (directory / "Packages").open("a") as packages:
        packages.write(f"{control}Filename: ./{file.name}\n{_sums(file)}\n")


def _sums(file: Path) -> str:
    return f"Size: {file.stat().st_size}\nSHA256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n"


@dataclass(frozen=True)
class Server:
    """What `https://developer.download.nvidia.com/compute` has, for one release."""

    root: Path
    address: str

    @property
    def directories(self) -> list[Path]:
        return [self.root / "cuda/repos/debian12" / arch for arch in REPOSITORIES.values()]

    def sign(self, key: Key | None) -> None:
        for directory in self.directories:
            packages = (directory / "Packages").read_bytes()
            digest = hashlib.sha256(packages).hexdigest()
            release = f"Origin: NVIDIA\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {digest}"
            release += f" {len(packages)} Packages\n"
            (directory / "Release").write_text(release)
            (directory / "Release.gpg").unlink(missing_ok=True)
            if key:
                (directory / "Release.gpg").write_bytes(key.sign(release.encode()))
                (directory / NVIDIA.key).write_bytes(key.public)


@pytest.fixture(scope="session")
def server(engine: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    wheels = toolkit_wheels(*REPOSITORIES)
    root = tmp_path_factory.mktemp("nvidia-apt")

    class Mirror(Files):
        def do_GET(self) -> None:
            if self.path.startswith("/broken/"):
                self.send_error(500)
            else:
                super().do_GET()

    with serving(Mirror.below(root)) as address:
        mirror = Server(root, address)
        for arch, directory in zip(REPOSITORIES, mirror.directories, strict=True):
            for name, (wheel, _) in PACKAGES.items():
                _package(directory, name, arch, wheels[wheel, arch])
        yield mirror
    shutil.rmtree(root)


def configure(project: Project, address: str, key: Key | None = None) -> None:
    """Ask for the packages at the mirror `address`, which signs with `key`, if any."""
    project.ask_for(MATRIX)
    text = f'[mirrors]\nnvidia = ["{address}"]\n'
    if key:
        file = project.root.parent / "a key.pub"
        file.write_bytes(key.public)
        text += f'[keyrings]\nnvidia = "{file}"\n'
    project.configure(text)


def test_cells_are_built_from_packages_and_compile_the_library(
    server: Server, project: Project
) -> None:
    server.sign(OURS)
    configure(project, server.address, OURS)

    project.lock()
    for cell in CELLS:
        project.run("run", "compile", cell)

    assert [project.machines(cell) for cell in CELLS] == [{"x86_64"}, {"aarch64"}]
    paths = {
        item.path for item in lock_file.load(project.root).artifacts() if item.origin == "nvidia"
    }
    assert f"cuda/repos/debian12/x86_64/cuda-nvcc-13-2_{RELEASE}.51-1_amd64.deb" in paths
    assert f"cuda/repos/debian12/sbsa/cuda-cudart-13-2_{RELEASE}.51-1_arm64.deb" in paths


@pytest.mark.parametrize(
    ("signer", "accepted", "reason", "hint"),
    [
        (EXPIRED, EXPIRED, "EXPKEYSIG|expired", "signed with the key in `"),
        (OTHER, OURS, "NO_PUBKEY|Missing key", "signed with the key in `"),
        (None, OURS, "is not signed", "signed with the key in `"),
        (OURS, None, "is not signed", f"signed with NVIDIA's key {NVIDIA.fingerprint}"),
    ],
    ids=["expired", "another", "unsigned", "not-nvidia's"],
)
def test_a_repository_without_the_right_signature_is_not_taken(
    server: Server,
    project: Project,
    signer: Key | None,
    accepted: Key | None,
    reason: str,
    hint: str,
) -> None:
    server.sign(signer)
    configure(project, server.address, accepted)

    message = _refusal(project)

    assert re.search(reason, message)
    assert "error: apt does not take `cuda/repos/debian12/" in message
    assert hint in message


def test_half_a_list_of_packages_is_not_taken(server: Server, project: Project) -> None:
    server.sign(OURS)
    configure(project, server.address, OURS)
    lists = {directory / "Packages": b"" for directory in server.directories}
    for file in lists:
        lists[file] = file.read_bytes()
        file.write_bytes(lists[file][:100])

    message = _refusal(project)

    for file, content in lists.items():
        file.write_bytes(content)
    assert "unexpected size" in message
    assert "it must be whole" in message


def test_a_mirror_without_the_repository_is_told(server: Server, project: Project) -> None:
    configure(project, f"{server.address}/elsewhere")
    message = _refusal(project)
    assert re.search(r"`cuda/repos/debian12/\w+/3bf863cc.pub`", message)
    assert "no server has" in message
    assert "404" in message


def test_a_mirror_that_fails_is_told(server: Server, project: Project) -> None:
    configure(project, f"{server.address}/broken", OURS)
    message = _refusal(project)
    assert "500" in message
    assert "error: apt does not take `cuda/repos/debian12/" in message


def _refusal(project: Project) -> str:
    """Return what `lock` says when it fails, which leaves nothing behind."""
    before = (project.root / lock_file.FILE).read_bytes()
    message = project.run("lock", expect=5).stderr
    assert (project.root / lock_file.FILE).read_bytes() == before
    assert not [*project.root.parent.glob("envmatrix-*")]
    return message
