"""apt itself, with a repository of the form of NVIDIA's on loopback: which versions it finds."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes import Nvidia, manifest
from tests.loopback import Files, serving
from tests.openpgp import Key

from envmatrix.engine.resolver_backend import on_host
from envmatrix.errors import LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.model import RepositoryRequest
from envmatrix.lock.resolvers.nvidia import NvidiaApt, NvidiaMirror

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="this machine has no apt"
)

REPOSITORY = "cuda/repos/debian12/x86_64"
OFFERED = {
    "libcudnn8": ["8.9.5.29-1+cuda11.8", "8.9.6.50-1+cuda11.8", "8.9.6.50-1+cuda12.2"],
    "libcudnn9-cuda-12": ["9.1.0.70-1", "9.1.1.17-1", "9.10.2.21-1"],
    "libcusparse-12-4": ["12.3.0.142-1", "12.3.1.170-1", "12.3.2.1-1"],
    "libnccl2": ["2.21.5-1+cuda12.4", "2.25.1-1+cuda12.8"],
}
RELEASES = {
    "12.4.0": manifest("12.3.0.142", "libcusparse"),
    "12.4.1": manifest("12.3.1.170", "libcusparse"),
    "12.4.9": manifest("12.3.9.9", "libcusparse"),
}


def _packages(directory: Path) -> str:
    """Make packages that hold nothing in `directory`; return their list."""
    listed = ""
    for name, version in (
        (name, version) for name, versions in OFFERED.items() for version in versions
    ):
        tree, file = directory / "tree", directory / f"{name}_{version}_amd64.deb"
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
        control += "Maintainer: nobody <nobody@mirror.example>\nDescription: empty\n"
        (tree / "DEBIAN/control").write_text(control)
        subprocess.run(["dpkg-deb", "-b", str(tree), str(file)], check=True, capture_output=True)
        shutil.rmtree(tree)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        listed += f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\n"
        listed += f"SHA256: {sha256}\n\n"
    return listed


@pytest.fixture(scope="module")
def apt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NvidiaApt]:
    root = tmp_path_factory.mktemp("nvidia-versions")
    directory = root / "server" / REPOSITORY
    directory.mkdir(parents=True)
    listed = _packages(directory).encode()
    (directory / "Packages").write_bytes(listed)
    release = "Origin: NVIDIA\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
    release += f" {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages\n"
    (directory / "Release").write_text(release)
    key = Key("ours <ours@mirror.example>", 1767225600)
    (directory / "Release.gpg").write_bytes(key.sign(release.encode()))
    keyring = root / "ours.pub"
    keyring.write_bytes(key.public)
    with serving(Files.below(root / "server")) as address:
        nvidia = Nvidia({"cuda": RELEASES})
        yield NvidiaApt(
            load_facts().nvidia_repositories,
            NvidiaMirror(address, keyring, nvidia.read),
            nvidia.redist.versions,
            root / "apt",
            on_host,
        )


def request(release: str, *packages: str) -> RepositoryRequest:
    specs = tuple(map(PackageSpec.parse, packages))
    return RepositoryRequest("nvidia-apt", "amd64", "debian12", specs, release)


@pytest.mark.parametrize(
    ("pattern", "release", "version"),
    [
        ("libcusparse-12-4", "12.4", "12.3.2.1-1"),
        ("libcusparse-12-4", "12.4.0", "12.3.0.142-1"),
        ("libcusparse-12-4", "12.4.1", "12.3.1.170-1"),
        ("libcudnn8=8.9.6.*+cuda11.8", "", "8.9.6.50-1+cuda11.8"),
        ("libcudnn8=8.9.6.50-1+cuda12.2", "", "8.9.6.50-1+cuda12.2"),
        ("libcudnn9-cuda-12=9.1.*", "", "9.1.1.17-1"),
        ("libcudnn9-cuda-12=9.1.0.70-1", "", "9.1.0.70-1"),
        ("libnccl2=2.21.5-1+cuda12.4", "", "2.21.5-1+cuda12.4"),
    ],
)
def test_apt_finds_the_version_that_is_asked_for(
    apt: NvidiaApt, pattern: str, release: str, version: str
) -> None:
    (artifact,) = apt.resolve(request(release, pattern), None).artifacts
    assert artifact.version == version


@pytest.mark.parametrize(
    ("pattern", "release", "missing"),
    [
        ("libcusparse-12-4", "12.4.9", "libcusparse-12-4=12.3.9.9-1"),
        ("libnvinfer10=10.16.1.11-1+cuda12.9", "", "libnvinfer10=10.16.1.11-1+cuda12.9"),
    ],
)
def test_what_apt_does_not_find_is_told(
    apt: NvidiaApt, pattern: str, release: str, missing: str
) -> None:
    with pytest.raises(LookupFailed) as caught:
        apt.resolve(request(release, "libnccl2=2.21.5-1+cuda12.4", pattern), None)
    assert caught.value.message == f"`{REPOSITORY}` does not have `{missing}`"
    assert caught.value.details
