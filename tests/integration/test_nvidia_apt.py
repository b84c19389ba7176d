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
from tests.integration.conftest import ROOT, Envmatrix
from tests.loopback import Files, serving
from tests.openpgp import Key
from tests.outputs import machine_of
from tests.wheels import PACKAGES, toolkit_wheels, unpack_package

from envmatrix.facts.model import load_facts
from envmatrix.lock import model

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
  vectorops: {{path: examples/vectorops, artifacts: ["libvectorops.so*"]}}
"""

REPOSITORIES = {"amd64": "x86_64", "arm64": "sbsa"}
TARGETS = {"amd64": "x86_64-linux", "arm64": "sbsa-linux"}

CREATED = 1767225600  # 2026-01-01
NVIDIA = load_facts().nvidia_repositories["debian12"]
OURS = Key("ours <ours@mirror.example>", CREATED)
OTHER = Key("other <other@mirror.example>", CREATED)
EXPIRED = Key("expired <expired@mirror.example>", CREATED, lifetime=86400)


def _package(directory: Path, package: str, arch: str, wheel: Path) -> None:
    """One of NVIDIA's packages in `directory`, made of a wheel, and its entry in the list."""
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


@pytest.fixture
def repository(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of the matrix above, on a machine that has NVIDIA's packages on loopback."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _configure(tmp_path, server.address)
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "envs", root / "envs")
    shutil.copytree(ROOT / "examples", root / "examples")
    shutil.copy(ROOT / model.FILE, root)
    (root / "matrix.yaml").write_text(MATRIX)
    return root


def _configure(home: Path, address: str, key: Key | None = None) -> None:
    """The mirror is at `address`; with a `key` it signs with that."""
    file = home / "config/envmatrix/config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = f'[mirrors]\nnvidia = ["{address}"]\n'
    if key:
        (home / "a key.pub").write_bytes(key.public)
        text += f'[keyrings]\nnvidia = "{home}/a key.pub"\n'
    file.write_text(text)


def test_cells_are_built_from_packages_and_compile_the_library(
    envmatrix: Envmatrix, server: Server, repository: Path
) -> None:
    server.sign(OURS)
    _configure(repository.parent, server.address, OURS)

    envmatrix("lock", cwd=repository)
    envmatrix("generate", cwd=repository)
    for cell in CELLS:
        envmatrix("run", "compile", cell, cwd=repository)

    machines = {}
    for cell in CELLS:
        files = (repository / "build" / cell / "vectorops").glob("*/libvectorops.so.*")
        machines[cell] = {machine_of(file) for file in files if not file.is_symlink()}
    assert machines == {CELLS[0]: {"x86_64"}, CELLS[1]: {"aarch64"}}
    paths = {item.path for item in model.load(repository).artifacts() if item.origin == "nvidia"}
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
    envmatrix: Envmatrix,
    server: Server,
    repository: Path,
    signer: Key | None,
    accepted: Key | None,
    reason: str,
    hint: str,
) -> None:
    server.sign(signer)
    _configure(repository.parent, server.address, accepted)

    message = _refusal(envmatrix, repository)

    assert re.search(reason, message)
    assert "error: apt does not take `cuda/repos/debian12/" in message
    assert hint in message


def test_half_a_list_of_packages_is_not_taken(
    envmatrix: Envmatrix, server: Server, repository: Path
) -> None:
    server.sign(OURS)
    _configure(repository.parent, server.address, OURS)
    lists = {directory / "Packages": b"" for directory in server.directories}
    for file in lists:
        lists[file] = file.read_bytes()
        file.write_bytes(lists[file][:100])

    message = _refusal(envmatrix, repository)

    for file, content in lists.items():
        file.write_bytes(content)
    assert "unexpected size" in message
    assert "it must be whole" in message


def test_a_mirror_without_the_repository_is_told(
    envmatrix: Envmatrix, server: Server, repository: Path
) -> None:
    _configure(repository.parent, f"{server.address}/elsewhere")
    message = _refusal(envmatrix, repository)
    assert re.search(r"`cuda/repos/debian12/\w+/3bf863cc.pub`", message)
    assert "no server has" in message
    assert "404" in message


def test_a_mirror_that_fails_is_told(
    envmatrix: Envmatrix, server: Server, repository: Path
) -> None:
    _configure(repository.parent, f"{server.address}/broken", OURS)
    message = _refusal(envmatrix, repository)
    assert "500" in message
    assert "error: apt does not take `cuda/repos/debian12/" in message


def _refusal(envmatrix: Envmatrix, repository: Path) -> str:
    """Return what `lock` says when it fails, which leaves nothing behind."""
    before = (repository / model.FILE).read_bytes()
    message = envmatrix("lock", cwd=repository, expect=5).stderr
    assert "Traceback" not in message
    assert (repository / model.FILE).read_bytes() == before
    assert not [*repository.parent.glob("envmatrix-*")]
    return message
