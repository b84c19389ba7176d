"""Cells of the families rpm and zypper: locked by dnf or zypper, installed by rpm, built twice with
the same layers, CUDA from a repository like NVIDIA's; and what dnf and zypper do not take.

No system of the family can be had here. The base is Debian's with dnf and rpm, its packages are
rpms made of Debian's, NVIDIA's are made of wheels; all are served on loopback.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from tests.images import build_once, pushed
from tests.integration.conftest import ROOT, Envmatrix
from tests.loopback import Files, serving
from tests.openpgp import Key
from tests.outputs import machine_of
from tests.wheels import PACKAGES, toolkit_wheels, unpack_package

from envmatrix.facts.model import load_facts
from envmatrix.lock import model
from envmatrix.machine.origins import Origins

# A release of its own: the images of the repository's matrix keep their names. The files are
# those of 13.5.
RELEASE = "13.2"
SUSE = "cuda13.5-opensuse16"
ENVIRONMENT = f"cuda{RELEASE}-rockylinux9"
CELL = f"{ENVIRONMENT}-x86_64"
MATRIX = """\
version: "1"
axes:
  cuda: ["{release}"]
  os: [rockylinux9]
  arch: [x86_64]
bases:
  rockylinux9: {image}
sources:
  - {{source: nvidia-dnf}}
sm: ["90"]
libraries:
  vectorops: {{path: examples/vectorops, artifacts: ["libvectorops.so*"]}}
"""

SUSE_MATRIX = """\
version: "1"
axes:
  cuda: ["13.5"]
  os: [opensuse16]
  arch: [x86_64]
bases:
  opensuse16: {image}
sm: ["90"]
libraries:
  vectorops: {{path: examples/vectorops, artifacts: ["libvectorops.so*"]}}
"""

CREATED = 1767225600  # 2026-01-01
NVIDIA = load_facts().nvidia_repositories["rhel9"]
OURS = Key("ours <ours@mirror.example>", CREATED)
OTHER = Key("other <other@mirror.example>", CREATED)
EXPIRED = Key("expired <expired@mirror.example>", CREATED, lifetime=86400)

# What dnf and zypper are in, which a Debian can have as well.
PROGRAMS_DOCKERFILE = """\
FROM {base}
RUN echo 'deb {debian} bookworm main' >/etc/apt/sources.list && apt-get update \\
 && apt-get install -y --no-install-recommends dnf gnupg rpm zypper \\
 && rm -rf /var/lib/apt/lists/* \\
 && mkdir -p /etc/rpm && echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros && rpm --initdb
"""
SYNTHETIC_DOCKERFILE = """\
FROM {programs}
COPY key.pub /
RUN rpm --import /key.pub
"""
MAKER_DOCKERFILE = """\
FROM {programs}
RUN apt-get update && apt-get install -y --no-install-recommends createrepo-c rpm
"""


@dataclass(frozen=True)
class Programs:
    """The images with the programs of these families, and with what makes rpms beside them."""

    plain: str
    maker: str


@pytest.fixture(scope="session")
def programs(base: str) -> Programs:
    debian = Origins().archive("debian")[0]
    dockerfile = PROGRAMS_DOCKERFILE.format(base=base, debian=debian)
    plain = build_once("envmatrix-test/rpm-programs", dockerfile)
    maker = build_once("envmatrix-test/rpm-maker", MAKER_DOCKERFILE.format(programs=plain))
    return Programs(plain, maker)


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient, programs: Programs, registry: str) -> str:
    """The synthetic base, pushed; its name by digest."""
    dockerfile = SYNTHETIC_DOCKERFILE.format(programs=programs.plain)
    synthetic = build_once("envmatrix-test/rpm-base", dockerfile, {"key.pub": OURS.public})
    name = f"{registry}/rockylinux"
    engine.images.get(synthetic).tag(name, "9")
    return pushed(engine, f"{name}:9")


def _make(step: str, directory: Path, image: str) -> None:
    script = ROOT / "tests/rpms.py"
    command = ["docker", "run", "--rm", "--network=host", f"--volume={directory}:/out"]
    command += [f"--volume={script}:/rpms.py:ro", f"--env=SOURCE_DATE_EPOCH={CREATED}", image]
    subprocess.run([*command, "python3", "/rpms.py", step, "/out"], check=True)


@dataclass(frozen=True)
class Server:
    """The mirrors of Rocky Linux and of NVIDIA, for one release."""

    root: Path
    address: str

    @property
    def nvidia(self) -> Path:
        return self.root / "nvidia/cuda/repos/rhel9/x86_64"

    @property
    def suse(self) -> Path:
        return self.root / "opensuse/distribution/leap/16.0/repo/oss"

    def sign(self, key: Key | None, repository: Path | None = None) -> None:
        repository = repository or self.nvidia
        index, signature = (repository / f"repodata/repomd.xml{end}" for end in ("", ".asc"))
        signature.unlink(missing_ok=True)
        if key:
            signature.write_bytes(key.sign(index.read_bytes()))
            for file in (repository / NVIDIA.key, index.with_name("repomd.xml.key")):
                file.write_bytes(key.public)


@pytest.fixture(scope="session")
def server(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("mirrors")

    class Mirror(Files):
        def do_GET(self) -> None:
            if "/broken/" in self.path:
                self.send_error(500)
            elif "/endless/" in self.path:
                self.answer(302, headers={"Location": self.path})
            else:
                super().do_GET()

    with serving(Mirror.below(root)) as address:
        mirrors = Server(root, address)
        for repository in ("BaseOS", "AppStream", "CRB"):
            directory = root / f"rocky/9/{repository}/x86_64/os"
            (directory / "trees").mkdir(parents=True)
            if repository == "BaseOS":
                _make("rpm", directory, programs.plain)
            _make("packages", directory, programs.maker)
        (mirrors.suse / "trees").mkdir(parents=True)
        _make("zypper", mirrors.suse, programs.plain)
        _make("packages", mirrors.suse, programs.maker)
        _nvidia_trees(mirrors.nvidia / "trees")
        _make("packages", mirrors.nvidia, programs.maker)
        yield mirrors
    _make_removable(root, programs.plain)
    shutil.rmtree(root)


def _make_removable(root: Path, image: str) -> None:
    """Let anybody remove what containers wrote, which belongs to their user."""
    command = ["docker", "run", "--rm", "--volume", f"{root}:/out", image, "chmod", "-R", "a+rwX"]
    subprocess.run([*command, "/out"], check=True)


def _nvidia_trees(directory: Path) -> None:
    """The files of NVIDIA's packages."""
    wheels = toolkit_wheels("amd64")
    for package, (wheel, _) in PACKAGES.items():
        name = f"{package.format(dev='devel')}-{RELEASE.replace('.', '-')}"
        root = directory / f"{name}_{RELEASE}.51/usr/local/cuda-{RELEASE}"
        unpack_package(package, wheels[wheel, "amd64"], root, root / "targets/x86_64-linux")


@pytest.fixture
def repository(image: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of the matrix above, on a machine that has all of it on loopback."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "envs", root / "envs")
    shutil.copytree(ROOT / "examples", root / "examples")
    (root / "matrix.yaml").write_text(MATRIX.format(release=RELEASE, image=image))
    _configure(tmp_path, server)
    return root


def _configure(home: Path, server: Server, key: Key | None = OURS, nvidia: str = "nvidia") -> None:
    """Where the mirrors are; that of NVIDIA signs with `key`, if any."""
    file = home / "config/envmatrix/config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = (
        f'[mirrors]\nrocky = ["{server.address}/rocky"]\nopensuse = ["{server.address}/opensuse"]\n'
    )
    text += f'nvidia = ["{server.address}/{nvidia}"]\n'
    if key:
        (home / "a key.pub").write_bytes(key.public)
        text += f'[keyrings]\nnvidia = "{home}/a key.pub"\n'
    file.write_text(text)


def test_a_cell_is_locked_built_twice_alike_and_compiles_the_library(
    envmatrix: Envmatrix, engine: docker.DockerClient, server: Server, repository: Path
) -> None:
    server.sign(OURS)

    envmatrix("lock", cwd=repository)
    envmatrix("generate", cwd=repository)
    envmatrix("run", "compile", CELL, cwd=repository)

    files = (repository / "build" / CELL / "vectorops").glob("*/libvectorops.so.*")
    assert {machine_of(file) for file in files if not file.is_symlink()} == {"x86_64"}
    paths = {item.path for item in model.load(repository).artifacts()}
    assert f"cuda/repos/rhel9/x86_64/cuda-nvcc-13-2-{RELEASE}.51-1.x86_64.rpm" in paths
    assert "9/BaseOS/x86_64/os/gcc-toolset-14-gcc-c++-1.0-1.x86_64.rpm" in paths
    envmatrix("run", "test", CELL, cwd=repository)
    verified = envmatrix("verify", "--json", ENVIRONMENT, cwd=repository).stdout
    assert json.loads(verified)
    for flavour in ("runtime", "devel"):
        engine.images.remove(f"envmatrix/{ENVIRONMENT}:{flavour}-amd64", force=True)


@pytest.fixture
def suse(repository: Path, image: str) -> Path:
    (repository / "matrix.yaml").write_text(SUSE_MATRIX.format(image=image))
    return repository


def test_a_cell_of_opensuse_is_locked_built_twice_alike_and_compiles_the_library(
    envmatrix: Envmatrix, engine: docker.DockerClient, server: Server, suse: Path
) -> None:
    server.sign(OURS, server.suse)
    cell = f"{SUSE}-x86_64"

    envmatrix("lock", cwd=suse)
    envmatrix("generate", cwd=suse)
    envmatrix("run", "compile", cell, cwd=suse)

    files = (suse / "build" / cell / "vectorops").glob("*/libvectorops.so.*")
    assert {machine_of(file) for file in files if not file.is_symlink()} == {"x86_64"}
    paths = {item.path for item in model.load(suse).artifacts()}
    assert "distribution/leap/16.0/repo/oss/gcc15-c++-1.0-1.x86_64.rpm" in paths
    envmatrix("verify", SUSE, cwd=suse)
    for flavour in ("runtime", "devel"):
        engine.images.remove(f"envmatrix/{SUSE}:{flavour}-amd64", force=True)


@pytest.mark.parametrize("signer", [OTHER, None], ids=["another", "unsigned"])
def test_an_archive_that_the_base_has_no_key_of_is_not_taken(
    envmatrix: Envmatrix, server: Server, suse: Path, signer: Key | None
) -> None:
    server.sign(signer, server.suse)
    message = _refusal(envmatrix, suse)
    assert re.search("[Ss]ignature|unsigned|not signed", message), message


@pytest.mark.parametrize(
    ("signer", "accepted"),
    [(EXPIRED, EXPIRED), (OTHER, OURS), (None, OURS)],
    ids=["expired", "another", "unsigned"],
)
def test_a_repository_without_the_right_signature_is_not_taken(
    envmatrix: Envmatrix,
    server: Server,
    repository: Path,
    signer: Key | None,
    accepted: Key,
) -> None:
    server.sign(signer)
    _configure(repository.parent, server, accepted)

    message = _refusal(envmatrix, repository)

    assert "does not take `cuda/repos/rhel9/x86_64`" in message
    assert "signed with the key in `" in message


def test_another_key_than_nvidias_is_not_taken(
    envmatrix: Envmatrix, server: Server, repository: Path
) -> None:
    server.sign(OTHER)
    _configure(repository.parent, server, None)
    message = _refusal(envmatrix, repository)
    sha256 = hashlib.sha256(OTHER.public).hexdigest()
    assert (
        f"`cuda/repos/rhel9/x86_64/D42D0685.pub` is not NVIDIA's key: its sha256 is {sha256}"
        in (message)
    )


@pytest.mark.parametrize("mirror", ["elsewhere", "broken", "endless"])
def test_a_mirror_that_fails_is_told(
    envmatrix: Envmatrix, server: Server, repository: Path, mirror: str
) -> None:
    _configure(repository.parent, server, nvidia=f"{mirror}/nvidia")
    message = _refusal(envmatrix, repository)
    assert "does not take `cuda/repos/rhel9/x86_64`" in message
    assert "it must be whole" in message


def test_half_an_index_is_not_taken(envmatrix: Envmatrix, server: Server, repository: Path) -> None:
    server.sign(OURS)
    (primary,) = (server.nvidia / "repodata").glob("*-primary.xml.*")
    whole = primary.read_bytes()
    primary.unlink()
    primary.write_bytes(whole[:100])
    message = _refusal(envmatrix, repository)
    primary.write_bytes(whole)
    assert "does not take `cuda/repos/rhel9/x86_64`" in message


def _refusal(envmatrix: Envmatrix, repository: Path) -> str:
    """Return what `lock` says when it fails, which leaves nothing behind."""
    message = envmatrix("lock", cwd=repository, expect=5).stderr
    assert "Traceback" not in message
    assert not (repository / model.FILE).exists()
    assert not [*repository.parent.glob("envmatrix-*")]
    return message
