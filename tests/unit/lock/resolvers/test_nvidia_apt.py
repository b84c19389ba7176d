from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import KEY, NVIDIA_MIRROR, Archive, lock_of, matrix_of, nvidia_apt

from envmatrix.errors import LookupFailed
from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.model import Artifact, RepositoryRequest

SHA256 = "0123456789abcdef" * 4


def request(*packages: str, release: str = "", arch: str = "amd64") -> RepositoryRequest:
    specs = tuple(map(PackageSpec.parse, packages))
    return RepositoryRequest("nvidia-apt", arch, "debian12", specs, release)


NVCC = request("cuda-nvcc-12-4", release="12.4")
FINGERPRINT = "EB693B3035CD5710E231E123A4B469963BF863CC"


def test_a_repository_is_taken_with_nvidias_key_only(tmp_path: Path) -> None:
    paths: list[str] = []

    def read(path: str) -> bytes:
        paths.append(path)
        return KEY

    apt = nvidia_apt(tmp_path, Archive())
    replace(apt, mirror=replace(apt.mirror, read=read)).resolve(replace(NVCC, arch="arm64"), None)

    home = tmp_path / "nvidia-debian12-arm64"
    assert paths == ["cuda/repos/debian12/sbsa/3bf863cc.pub"]
    assert (home / "key.asc").read_bytes() == KEY
    where = f"{NVIDIA_MIRROR}/cuda/repos/debian12/sbsa/ /"
    line = f"deb [signed-by={home}/key.asc,{FINGERPRINT}] {where}\n"
    assert (home / "sources.list").read_text() == line


def test_a_mirror_with_a_key_of_its_own_is_taken_with_that(tmp_path: Path) -> None:
    keyring = tmp_path / "our key"
    keyring.write_bytes(b"\x99")
    nvidia_apt(tmp_path, Archive(), keyring).resolve(NVCC, None)
    home = tmp_path / "nvidia-debian12-amd64"
    assert (home / "key.gpg").read_bytes() == b"\x99"
    assert f"[signed-by={home}/key.gpg]" in (home / "sources.list").read_text()


def downloads_of(directory: Path, *packages: str, release: str = "") -> list[str]:
    archive = Archive()
    nvidia_apt(directory, archive).resolve(request(*packages, release=release), None)
    ((home, verb, *arguments),) = archive.commands
    assert (home, verb) == ("nvidia-debian12-amd64", "download")
    return arguments


def test_of_a_release_of_two_parts_the_newest_is_asked_for(tmp_path: Path) -> None:
    # Versions need not be those of the release: libcusparse-12-4 is 12.3.1.170.
    names = ["libcusparse-12-4", "cuda-nvcc-12-4"]
    assert downloads_of(tmp_path, *names, release="12.4") == names


def test_of_a_release_of_three_parts_the_manifests_versions_are_asked_for(tmp_path: Path) -> None:
    names = ("cuda-nvcc-12-6", "cuda-cudart-dev-12-6")
    for release, version in {"12.6.0": "12.6.20-1", "12.6.3": "12.6.77-1"}.items():
        expected = [f"{name}={version}" for name in names]
        assert downloads_of(tmp_path / release, *names, release=release) == expected


def test_what_has_versions_of_its_own_is_asked_for_in_that(tmp_path: Path) -> None:
    packages = ["libnccl2=2.21.5-1+cuda12.4", "libcudnn9-cuda-12=9.1.*"]
    assert downloads_of(tmp_path, *packages) == packages


@pytest.mark.parametrize(
    ("package", "release", "message", "hint"),
    [
        (
            "cuda-nvcc-12-6",
            "12.6.9",
            "`cuda/redist/` has no manifest of release 12.6.9",
            "it has those of 12.6.0, 12.6.3",
        ),
        (
            "libcublas-12-6",
            "12.6.3",
            (
                "`cuda/redist/redistrib_12.6.3.json` has no `libcublas`, whose version "
                "`libcublas-12-6` has"
            ),
            None,
        ),
    ],
)
def test_a_patch_that_no_manifest_tells_of_is_refused(
    tmp_path: Path, package: str, release: str, message: str, hint: str | None
) -> None:
    with pytest.raises(LookupFailed) as caught:
        downloads_of(tmp_path, package, release=release)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_version_that_the_repository_has_not_is_told_with_it(tmp_path: Path) -> None:
    details = ["E: Version '12.6.20-1' for 'cuda-nvcc-12-6' was not found"]

    def run(command: Sequence[str]) -> str:
        if "download" in command:
            raise LookupFailed("`apt-get` failed with exit code 100", details=details)
        return Archive().run(command)

    apt = replace(nvidia_apt(tmp_path, Archive()), run=run)
    with pytest.raises(LookupFailed) as caught:
        apt.resolve(request("cuda-nvcc-12-6", "cuda-cudart-12-6", release="12.6.0"), None)
    assert caught.value.message == (
        "`cuda/repos/debian12/x86_64` does not have `cuda-nvcc-12-6=12.6.20-1`"
    )
    assert list(caught.value.details) == details
    assert str(caught.value.hint).startswith("a release of two parts is the newest patch")


def test_an_index_is_read_once(tmp_path: Path) -> None:
    updates: list[Sequence[str]] = []
    archive = Archive()

    def run(command: Sequence[str]) -> str:
        updates.extend([command] if "update" in command else [])
        return archive.run(command)

    apt = replace(nvidia_apt(tmp_path, archive), run=run)
    for arch in ("amd64", "arm64", "amd64"):
        apt.resolve(replace(NVCC, arch=arch), None)
    assert len(updates) == 2


def test_a_package_is_found_below_the_origin(tmp_path: Path) -> None:
    directory, file = "cuda/repos/debian12/x86_64", "cuda-nvcc-12-4_12.4.131-1_amd64.deb"
    line = f"'{NVIDIA_MIRROR}/{directory}/./{file}' {file} 7 SHA256:{SHA256}"
    apt = replace(nvidia_apt(tmp_path, Archive()), run=lambda _command: line)
    assert apt.resolve(NVCC, None).artifacts == (
        Artifact("nvidia", f"{directory}/{file}", "cuda-nvcc-12-4", "12.4.131-1", 7, SHA256),
    )


def refusal(directory: Path, keyring: Path | None = None) -> LookupFailed:
    def run(_command: Sequence[str]) -> str:
        raise LookupFailed("`apt-get` failed", details=["E: The repository is not signed."])

    with pytest.raises(LookupFailed) as caught:
        replace(nvidia_apt(directory, Archive(), keyring), run=run).resolve(NVCC, None)
    return caught.value


def test_what_apt_refuses_is_told_with_its_words_and_the_key(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.message == f"apt does not take `cuda/repos/debian12/x86_64` from {NVIDIA_MIRROR}"
    assert list(error.details) == ["E: The repository is not signed."]
    assert error.hint
    assert f"signed with NVIDIA's key {FINGERPRINT};" in error.hint


def test_a_key_of_the_user_is_told_by_its_file(tmp_path: Path) -> None:
    keyring = tmp_path / "ours.gpg"
    keyring.write_bytes(b"\x99")
    assert f"signed with the key in `{keyring}`;" in str(refusal(tmp_path, keyring).hint)


def test_packages_for_cross_compiling_are_in_a_directory_of_their_own(tmp_path: Path) -> None:
    axes = 'cuda: ["12.6"]\nos: [ubuntu22.04]\narch: [aarch64]'
    matrix = matrix_of(tmp_path / "repository", axes, "sources: [{source: nvidia-cross}]\n")
    lock = lock_of(matrix, tmp_path / "scratch")
    sets = {
        key.rpartition("-ubuntu2204-")[2]: package_set.artifacts
        for key, package_set in lock.sets.items()
        if "nvidia-cross" in key
    }
    paths = {part: {item.path.rpartition("/pool/")[0] for item in sets[part]} for part in sets}
    cross = {"cuda/repos/ubuntu2204/cross-linux-sbsa"}
    assert paths == {
        "runtime-arm64": cross,
        "devel-arm64": cross,
        "tools-arm64": {"cuda/repos/ubuntu2204/sbsa"},
        "tools-amd64": {"cuda/repos/ubuntu2204/x86_64"},
    }
    names = {
        item.name for item in lock.sets["cuda12.6-nvidia-cross-ubuntu2204-devel-arm64"].artifacts
    }
    assert names == {
        "cuda-cccl-cross-sbsa-12-6",
        "cuda-cudart-cross-sbsa-12-6",
        "cuda-driver-cross-sbsa-12-6",
        "cuda-nvcc-cross-sbsa-12-6",
    }
