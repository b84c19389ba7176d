from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import NoReturn

import pytest
from tests.fakes import TOOLKIT, Index

from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.model import Artifact, ReleaseRequest
from envmatrix.lock.resolvers.pip import Pip


def versions(artifacts: Sequence[Artifact]) -> dict[str, str]:
    return {item.name: item.version for item in artifacts}


def request(*names: str, arch: str = "amd64") -> ReleaseRequest:
    return ReleaseRequest("pip", arch, tuple(PackageSpec(name, "1") for name in names))


def test_a_component_of_a_release_is_pinned_as_the_meta_package_of_the_release_has_it() -> None:
    index = Index()
    artifacts = index.resolve("amd64", "nvidia-cuda-nvcc", "nvidia-cuda-runtime", release="13.0")
    assert versions(artifacts) == {"nvidia-cuda-nvcc": "13.0.88", "nvidia-cuda-runtime": "13.0.96"}
    assert index.requirements[0] == ("cuda-toolkit==13.0.*",)


def test_the_pins_of_a_release_are_read_once_for_each_architecture() -> None:
    index = Index()
    pip = Pip(index.run, index.look_up)
    for name in ("nvidia-cuda-nvcc", "nvidia-cuda-runtime"):
        for arch in ("amd64", "arm64"):
            pip.resolve(ReleaseRequest("pip", arch, (PackageSpec(name, ""),), "13.0"), None)
    assert index.requirements.count(("cuda-toolkit==13.0.*",)) == 2
    assert len(index.requirements) == 6


def test_a_component_that_the_meta_package_does_not_know_is_the_newest_of_the_release() -> None:
    index = Index()
    index.resolve("amd64", "nvidia-new", release="13.0")
    assert index.requirements[1] == ("nvidia-new==13.0.*",)


def test_a_requirement_is_asked_for_as_it_is() -> None:
    index = Index()
    artifacts = index.resolve("arm64", "nvidia-cudnn-cu13=9.28.*")
    assert index.requirements == [("nvidia-cudnn-cu13==9.28.*",)]
    assert versions(artifacts) == {"nvidia-cudnn-cu13": "9.28.0"}


def test_the_path_is_what_every_mirror_has_and_the_size_the_index_tells() -> None:
    (wheel,) = Index().resolve("amd64", "nvidia-cudnn-cu13=9.28.*")
    assert wheel.origin == "pypi"
    assert wheel.path == f"packages/{wheel.sha256[:2]}/{wheel.filename}"
    assert wheel.filename == "nvidia_cudnn_cu13-9.28.0-py3-none-any.whl"
    assert wheel.size == len(wheel.filename)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://mirror.example/packages/a/b/c-1%2Bx.whl#sha256=0", "packages/a/b/c-1+x.whl"),
        ("https://mirror.example/pypi/packages/c-1.whl?token=x", "packages/c-1.whl"),
    ],
)
def test_what_leads_to_the_files_of_a_mirror_is_left_out(url: str, path: str) -> None:
    pip = Pip(Index().run, lambda _wheel: (url, 1))
    assert [wheel.path for wheel in pip.resolve(request("n"), None).artifacts] == [path]


@pytest.mark.parametrize("path", ["c-1.whl", "packages/a/../../c-1.whl", "packages/%2e%2e/c-1.whl"])
def test_a_file_that_is_not_of_an_index_is_refused(path: str) -> None:
    pip = Pip(Index().run, lambda _wheel: (f"https://mirror.example/{path}", 1))
    with pytest.raises(LookupFailed, match="does not look like a file of a package index"):
        pip.resolve(request("n"), None)


@pytest.mark.parametrize("skewed", ["nvidia-nvvm", "nvidia-cuda-crt"])
def test_a_compiler_of_two_releases_is_refused(skewed: str) -> None:
    index = Index(toolkit=TOOLKIT | {skewed: "13.1.0"})
    with pytest.raises(LookupFailed) as caught:
        index.resolve("amd64", "nvidia-cuda-nvcc", skewed, release="13.0")
    assert f"{skewed} 13.1.0" in caught.value.message
    assert "nvidia-cuda-nvcc 13.0.88" in caught.value.message


def test_the_libraries_may_be_newer_than_the_compiler() -> None:
    index = Index(toolkit=TOOLKIT | {"nvidia-cuda-cccl": "13.1.0"})
    names = ("nvidia-cuda-nvcc", "nvidia-cuda-cccl")
    assert len(index.resolve("amd64", *names, release="13.0")) == 2


@pytest.mark.parametrize(("arch", "machine"), [("amd64", "x86_64"), ("arm64", "aarch64")])
def test_pip_resolves_for_the_architecture_of_the_cell(arch: str, machine: str) -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return json.dumps({"install": []})

    Pip(run, Index().look_up).resolve(request("b", "a", arch=arch), None)
    (command,) = commands
    platforms = [after for word, after in itertools.pairwise(command) if "plat" in word]
    assert platforms
    assert all(platform.endswith(f"_{machine}") for platform in platforms)
    assert {"--dry-run", "--no-deps", "--ignore-installed"} <= set(command)
    assert command[-2:] == ["a==1", "b==1"]


RETRIES = (
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by "
    "'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f>: "
    "Failed to establish a new connection: [Errno 111] Connection refused')': /simple/nothing/"
)
LACKING = (
    "ERROR: Could not find a version that satisfies the requirement nothing (from versions: none)",
    "ERROR: No matching distribution found for nothing",
)


@pytest.mark.parametrize(
    ("output", "is_absent", "message"),
    [
        (LACKING, True, "the index has no `nothing`, or no wheel of it"),
        ((RETRIES, *LACKING), False, "pip reaches no index"),
        (("ERROR: something else",), False, "`pip` failed"),
    ],
)
def test_a_project_that_no_index_has_is_told_from_an_index_out_of_reach(
    output: Sequence[str], is_absent: bool, message: str
) -> None:
    def run(_: Sequence[str]) -> NoReturn:
        raise LookupFailed("`pip` failed", details=output)

    with pytest.raises(LookupFailed, match=message) as caught:
        Pip(run, lambda _: ("", 0)).resolve(request("nothing"), None)
    assert isinstance(caught.value, Absent) == is_absent
    assert caught.value.details == tuple(output)
