from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from tests.fakes import TOOLKIT, Archive, FakeBackend, Index

from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.model import Artifact, ReleaseRequest, WheelsRequest
from envmatrix.lock.resolvers.pip import Pip, UnknownWheels
from envmatrix.lock.resolvers.protocol import ResolvedSets


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


def of_suite(directory: Path) -> ResolvedSets:
    return ResolvedSets(FakeBackend(directory, Archive()), load_facts(), {})


def missing(directory: Path, *requirements: str, output: str) -> UnknownWheels:
    """Return the error of requirements for which pip prints this."""

    def run(_: Sequence[str]) -> NoReturn:
        name = requirements[0].partition("=")[0]
        details = (f"ERROR: {output}", f"ERROR: No matching distribution found for {name}")
        raise LookupFailed("`pip` failed", details=details)

    with pytest.raises(UnknownWheels) as caught:
        Pip(run, lambda _: ("", 0)).resolve_wheels(
            WheelsRequest("arm64", "bookworm", requirements), of_suite(directory)
        )
    return caught.value


_LACKS = "Could not find a version that satisfies the requirement"


@pytest.mark.parametrize(
    ("requirement", "versions", "hint"),
    [
        (
            "numpy==1.20",
            "1.23.2, 1.24.0, 2.3.0rc1",
            "the nearest version of `numpy` with one is 1.23.2",
        ),
        ("numpy<1.20,>=1.19", "1.23.2, 1.24.0", "with one is 1.23.2"),
        ("numpy>=9", "1.23.2, 1.24.0, 2.0.0rc1", "with one is 1.24.0"),
        ("numpy==1.*", "2.0, 2.1", "with one is 2.0"),
        ("numpy", "3.0rc1", "with one is 3.0rc1"),
        ("numpy", "none", "no version has one; is its name right?"),
    ],
)
def test_the_nearest_version_with_a_wheel_is_named(
    tmp_path: Path, requirement: str, versions: str, hint: str
) -> None:
    error = missing(
        tmp_path, requirement, output=f"{_LACKS} {requirement} (from versions: {versions})"
    )
    assert error.message == (
        f"there is no wheel of `{requirement}` for Python 3.11 of `debian12` on arm64"
    )
    assert hint in str(error.hint)
    assert error.requirement == requirement


def test_a_wheel_that_another_one_requires_is_told_with_what_requires_it(tmp_path: Path) -> None:
    output = f"{_LACKS} b>=3 (from a-b) (from versions: 1.0, 2.0)"
    error = missing(tmp_path, "A.b~=1.0", output=output)
    assert "no wheel of `b>=3`, which `a-b` requires, for" in error.message
    assert error.requirement == "A.b~=1.0"


def test_requirements_that_exclude_each_other_are_told(tmp_path: Path) -> None:
    output = (
        "Cannot install b==2, my.numpy==1.26.4 and numpy==2.0.0 because these package versions "
        "have conflicting dependencies."
    )
    error = missing(tmp_path, "b==2", "my.numpy==1.26.4", "numpy==2.0.0", output=output)
    assert error.message == (
        "no wheels meet b==2, my.numpy==1.26.4 and numpy==2.0.0 together "
        "for Python 3.11 of `debian12` on arm64"
    )
    assert error.requirement == "b==2"


def test_all_requirements_without_a_wheel_are_told_at_once(tmp_path: Path) -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        name = next((each for each in ("a==1", "b==2") if each in command), None)
        if name is None:
            return json.dumps({"install": []})
        lacks = f"ERROR: {_LACKS} {name} (from versions: none)"
        none = f"ERROR: No matching distribution found for {name}"
        raise LookupFailed("`pip` failed", details=[lacks, none])

    request = WheelsRequest("arm64", "bookworm", ("a==1", "b==2", "c==3"))
    with pytest.raises(UnknownWheels) as caught:
        Pip(run, lambda _: ("", 0)).resolve_wheels(request, of_suite(tmp_path))
    errors = (caught.value, *caught.value.others)
    assert [error.requirement for error in errors] == ["a==1", "b==2"]
    assert [command[-1] for command in commands] == ["c==3"] * 3


def test_what_images_have_is_not_locked(tmp_path: Path) -> None:
    names = ("torch==2", "nvidia-cublas-cu12==12", "Triton==3", "numpy==2")
    index = Index()
    request = WheelsRequest("amd64", "bookworm", names, ("nvidia-*", "triton"))
    wheels = Pip(index.run, index.look_up).resolve_wheels(request, of_suite(tmp_path))
    assert {wheel.name for wheel in wheels.artifacts} == {"numpy", "torch"}


def test_conditions_of_requirements_follow_the_python_and_machine_of_the_cell(
    tmp_path: Path,
) -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return json.dumps({"install": []})

    request = WheelsRequest("arm64", "trixie", ("numpy",))
    Pip(run, Index().look_up).resolve_wheels(request, of_suite(tmp_path))
    (command,) = commands
    values = json.loads(command[3])
    assert (values["python_version"], values["platform_machine"]) == ("3.13", "aarch64")


@pytest.mark.parametrize(
    ("python", "version", "abis"), [("3.14", "3.14", []), ("3.14t", "3.14", ["cp314t", "none"])]
)
def test_wheels_are_for_another_python_of_the_cell(
    tmp_path: Path, python: str, version: str, abis: list[str]
) -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return json.dumps({"install": []})

    request = WheelsRequest("amd64", "bookworm", ("numpy",), python=python)
    Pip(run, Index().look_up).resolve_wheels(request, of_suite(tmp_path))
    (command,) = commands
    assert json.loads(command[3])["python_version"] == version
    assert command[command.index("--python-version") + 1] == version
    assert [after for word, after in itertools.pairwise(command) if word == "--abi"] == abis


def test_pip_evaluates_markers_with_other_values() -> None:
    from envmatrix.lock.resolvers import pip

    program, _, _ = pip._PIP_ELSEWHERE.partition("from pip._internal")
    marker = 'python_version == "3.99" and platform_machine == "s390x"'
    check = f"print(markers.Marker({marker!r}).evaluate())"
    values = json.dumps({"python_version": "3.99", "platform_machine": "s390x"})
    command = [sys.executable, "-c", f"{program}{check}", values]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
