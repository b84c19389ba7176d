"""What cuda.yaml says of a release is what the release's own wheels say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import httpx
import pytest

from envmatrix.facts.cuda import CudaRelease
from envmatrix.facts.model import load_facts
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins

CUDA = load_facts().cuda


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    releases = [release for release in CUDA.values() if release.sm_ref.startswith("measured")]
    if not metafunc.config.getoption("--every-release"):
        releases = [releases[0], releases[-1]]
    metafunc.parametrize("release", releases, ids=lambda release: release.release)


@pytest.fixture
def compiler(release: CudaRelease) -> Path:
    """A directory with ptxas and host_config.h of the release, downloaded once for each user."""
    directory = cache_directory() / "measured" / release.release
    if not directory.is_dir():
        skip_without_an_index()
        directory.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory.parent) as scratch:
            unpack(download(release, Path(scratch)), Path(scratch, "unpacked")).rename(directory)
    return directory


def download(release: CudaRelease, directory: Path) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(directory), *requirements(release)]
    subprocess.run(command, check=True)
    return sorted(directory.glob("*.whl"))


def unpack(wheels: list[Path], directory: Path) -> Path:
    directory.mkdir()
    for wheel in wheels:
        with ZipFile(wheel) as content:
            for name in content.namelist():
                if name.endswith(("/bin/ptxas", "/crt/host_config.h")):
                    (directory / Path(name).name).write_bytes(content.read(name))
    (directory / "ptxas").chmod(0o755)
    return directory


def requirements(release: CudaRelease) -> list[str]:
    if int(release.major) < 13:
        return [f"nvidia-cuda-nvcc-cu{release.major}=={release.release}.*"]
    return [f"{name}=={release.release}.*" for name in ("nvidia-cuda-nvcc", "nvidia-cuda-crt")]


def skip_without_an_index() -> None:
    index = Origins().pypi_indexes[0]
    try:
        with http_client() as client:
            client.head(index)
    except httpx.TransportError as error:
        pytest.skip(f"the package index is not reachable: {error}")


def candidates() -> list[str]:
    """Return the architectures that any release knows, and those beside them that none should."""
    numbers = {int(re.sub(r"\D", "", sm)) for release in CUDA.values() for sm in release.sm}
    around = {number + step for number in numbers for step in (-1, 0, 1)}
    return [f"{number}{variant}" for number in sorted(around) for variant in ("", "a", "f")]


def test_ptxas_takes_the_architectures_of_the_row_and_no_other(
    release: CudaRelease, compiler: Path
) -> None:
    accepted = [
        sm
        for sm in candidates()
        if not subprocess.run(
            [compiler / "ptxas", "--gpu-name", f"sm_{sm}", "--version"],
            capture_output=True,
            check=False,
        ).returncode
    ]
    assert tuple(accepted) == release.sm


def test_the_newest_host_compilers_are_those_of_the_header(
    release: CudaRelease, compiler: Path
) -> None:
    header = (compiler / "host_config.h").read_text("utf-8")
    [gcc] = re.findall(r"^#if __GNUC__ > (\d+)", header, re.MULTILINE)
    # Before Clang itself stand those that pass for it and have a check of their own.
    *_, refused = re.findall(r"^#if \(__clang_major__ >= (\d+)\)", header, re.MULTILINE)
    assert (gcc, str(int(refused) - 1)) == (release.host.gcc_max, release.host.clang_max)
