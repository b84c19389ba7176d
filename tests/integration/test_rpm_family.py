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
from tests.integration.conftest import ROOT, VECTOROPS, Project
from tests.loopback import Files, serving
from tests.openpgp import Key
from tests.wheels import PACKAGES, toolkit_wheels, unpack_package

from envmatrix.facts.model import load_facts
from envmatrix.lock import lock_file
from envmatrix.machine.origins import Origins

# A release of its own: the images of the repository's matrix keep their names. The files are
# those of 13.5.
RELEASE = "13.2"
SUSE = "cuda13.5-opensuse16"
ENVIRONMENT = f"cuda{RELEASE}-rockylinux9"
CELL = f"{ENVIRONMENT}-x86_64"
NVIDIAS = "sources:\n  - {source: nvidia-dnf}\n"


def matrix(release: str, system: str, image: str, sources: str = "") -> str:
    return f"""\
version: "1"
axes:
  cuda: ["{release}"]
  os: [{system}]
  arch: [x86_64]
bases:
  {system}: {image}
{sources}sm: ["90"]
libraries:
  {VECTOROPS.replace("-DBUILD_TESTING=OFF, ", "")}"""


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
    """Unpack the files of NVIDIA's packages."""
    wheels = toolkit_wheels("amd64")
    for package, (wheel, _) in PACKAGES.items():
        name = f"{package.format(dev='devel')}-{RELEASE.replace('.', '-')}"
        root = directory / f"{name}_{RELEASE}.51/usr/local/cuda-{RELEASE}"
        unpack_package(package, wheels[wheel, "amd64"], root, root / "targets/x86_64-linux")


@pytest.fixture
def rocky(project: Project, image: str, server: Server) -> Project:
    """A project of Rocky Linux, on a machine that has all of it on loopback."""
    (project.root / lock_file.FILE).unlink()
    project.ask_for(matrix(RELEASE, "rockylinux9", image, NVIDIAS))
    configure(project, server)
    return project


def configure(
    project: Project, server: Server, key: Key | None = OURS, nvidia: str = "nvidia"
) -> None:
    """Name the mirrors; that of NVIDIA signs with `key`, if any."""
    text = "[mirrors]\n"
    for origin, path in (("rocky", "rocky"), ("opensuse", "opensuse"), ("nvidia", nvidia)):
        text += f'{origin} = ["{server.address}/{path}"]\n'
    if key:
        file = project.root.parent / "a key.pub"
        file.write_bytes(key.public)
        text += f'[keyrings]\nnvidia = "{file}"\n'
    project.configure(text)


def test_a_cell_is_locked_built_twice_alike_and_compiles_the_library(
    server: Server, rocky: Project
) -> None:
    server.sign(OURS)

    rocky.lock()
    rocky.run("run", "compile", CELL)

    assert rocky.machines(CELL) == {"x86_64"}
    paths = {item.path for item in lock_file.load(rocky.root).artifacts()}
    assert f"cuda/repos/rhel9/x86_64/cuda-nvcc-13-2-{RELEASE}.51-1.x86_64.rpm" in paths
    assert "9/BaseOS/x86_64/os/gcc-toolset-14-gcc-c++-1.0-1.x86_64.rpm" in paths
    rocky.run("run", "test", CELL)
    assert json.loads(rocky.run("verify", "--json", ENVIRONMENT).stdout)


@pytest.fixture
def suse(rocky: Project, image: str) -> Project:
    rocky.ask_for(matrix("13.5", "opensuse16", image))
    return rocky


@pytest.mark.long
def test_a_cell_of_opensuse_is_locked_built_twice_alike_and_compiles_the_library(
    server: Server, suse: Project
) -> None:
    server.sign(OURS, server.suse)
    cell = f"{SUSE}-x86_64"

    suse.lock()
    suse.run("run", "compile", cell)

    assert suse.machines(cell) == {"x86_64"}
    paths = {item.path for item in lock_file.load(suse.root).artifacts()}
    assert "distribution/leap/16.0/repo/oss/gcc15-c++-1.0-1.x86_64.rpm" in paths
    suse.run("verify", SUSE)


@pytest.mark.parametrize("signer", [OTHER, None], ids=["another", "unsigned"])
def test_an_archive_that_the_base_has_no_key_of_is_not_taken(
    server: Server, suse: Project, signer: Key | None
) -> None:
    server.sign(signer, server.suse)
    message = _refusal(suse)
    assert re.search("[Ss]ignature|unsigned|not signed", message), message


@pytest.mark.parametrize(
    ("signer", "accepted"),
    [(EXPIRED, EXPIRED), (OTHER, OURS), (None, OURS)],
    ids=["expired", "another", "unsigned"],
)
def test_a_repository_without_the_right_signature_is_not_taken(
    server: Server,
    rocky: Project,
    signer: Key | None,
    accepted: Key,
) -> None:
    server.sign(signer)
    configure(rocky, server, accepted)

    message = _refusal(rocky)

    assert "does not take `cuda/repos/rhel9/x86_64`" in message
    assert "signed with the key in `" in message


def test_another_key_than_nvidias_is_not_taken(server: Server, rocky: Project) -> None:
    server.sign(OTHER)
    configure(rocky, server, None)
    message = _refusal(rocky)
    sha256 = hashlib.sha256(OTHER.public).hexdigest()
    assert (
        f"`cuda/repos/rhel9/x86_64/D42D0685.pub` is not NVIDIA's key: its sha256 is {sha256}"
        in (message)
    )


@pytest.mark.parametrize("mirror", ["elsewhere", "broken", "endless"])
def test_a_mirror_that_fails_is_told(server: Server, rocky: Project, mirror: str) -> None:
    configure(rocky, server, nvidia=f"{mirror}/nvidia")
    message = _refusal(rocky)
    assert "does not take `cuda/repos/rhel9/x86_64`" in message
    assert "it must be whole" in message


def test_half_an_index_is_not_taken(server: Server, rocky: Project) -> None:
    server.sign(OURS)
    (primary,) = (server.nvidia / "repodata").glob("*-primary.xml.*")
    whole = primary.read_bytes()
    primary.unlink()
    primary.write_bytes(whole[:100])
    message = _refusal(rocky)
    primary.write_bytes(whole)
    assert "does not take `cuda/repos/rhel9/x86_64`" in message


def _refusal(project: Project) -> str:
    """Return what `lock` says when it fails, which leaves nothing behind."""
    message = project.run("lock", expect=5).stderr
    assert not (project.root / lock_file.FILE).exists()
    assert not [*project.root.parent.glob("envmatrix-*")]
    return message
