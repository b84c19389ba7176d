"""The tool on an aarch64 host, such as DGX with Grace or Jetson Thor: its native path, in an arm64
userland under QEMU. It takes a quarter of an hour: `nox -s aarch64-host`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from tests.integration.conftest import CROSSED, ENVIRONMENT, ROOT, Envmatrix
from tests.outputs import machine_of
from tests.userlands import Userland, userland

from envmatrix.lock import lock_file

pytestmark = pytest.mark.skipif(
    os.environ.get("AARCH64_HOST") != "1", reason="takes long: `nox -s aarch64-host`"
)

MATRIX = f"""\
version: "1"
axes:
  cuda: ["{ENVIRONMENT.removeprefix("cuda").removesuffix("-debian12")}"]
  os: [debian12]
  arch: [x86_64, aarch64]
sm: ["75", "80", "86", "90", "100", "120"]
libraries:
  tiny: {{path: tiny, artifacts: ["libtiny.so"]}}
"""
FILES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.18)
project(tiny LANGUAGES CXX CUDA)
enable_testing()
add_library(tiny SHARED tiny.cu)
set_target_properties(tiny PROPERTIES CUDA_ARCHITECTURES 90)
add_executable(tiny_test tiny_test.cpp)
target_link_libraries(tiny_test tiny)
add_test(NAME tiny COMMAND tiny_test)
""",
    "tiny.cu": """\
__global__ void twice(int *x) { *x *= 2; }
extern "C" int devices() { int n = 0; return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0; }
extern "C" void run(int *x) { twice<<<1, 1>>>(x); }
""",
    "tiny_test.cpp": 'extern "C" int devices();\nint main() { return devices() < 0; }\n',
}


@pytest.fixture(scope="module")
def host(envmatrix: Envmatrix, tmp_path_factory: pytest.TempPathFactory) -> Userland:
    """An aarch64 machine with a repository; its images are built before, by the same engine."""
    home = tmp_path_factory.mktemp("host")
    envmatrix("build", "--select", CROSSED, "--emulate")
    machine = userland(lock_file.load(ROOT), "arm64", home)
    root = home / "repository"
    shutil.copytree(ROOT / "envs", root / "envs")
    shutil.copy(ROOT / lock_file.FILE, root)
    (root / "matrix.yaml").write_text(MATRIX)
    (root / "tiny").mkdir()
    for name, text in FILES.items():
        (root / "tiny" / name).write_text(text)
    for verb in ("lock", "generate"):
        envmatrix(verb, cwd=root)
    return machine


def test_it_is_one(host: Userland) -> None:
    output = host.run("python3", "-c", "import platform; print(platform.machine())").stdout
    assert output == "aarch64\n"


def test_doctor_looks_for_the_emulation_of_the_other_architecture(host: Userland) -> None:
    output = host.envmatrix("doctor").stdout
    assert "engine " in output
    assert "x86_64 programs do not run here" in output


def test_its_own_cell_is_native_and_the_other_one_emulated(host: Userland) -> None:
    rows = json.loads(host.envmatrix("plan", "--select", ENVIRONMENT, "--json").stdout)
    flavours = {row["image"].partition(":")[2].rsplit("-", 1)[0]: row["action"] for row in rows}
    assert flavours.keys() == {"devel-amd64", "devel-arm64", "runtime-amd64", "runtime-arm64"}
    assert {flavours["devel-arm64"], flavours["runtime-arm64"]} == {"reuse"}


def test_a_library_is_compiled_and_tested_natively(host: Userland) -> None:
    done = host.envmatrix("run", "test", CROSSED, "--library", "tiny")
    assert "cross" not in done.stderr
    (artifact, *_) = (host.home / "repository/build" / CROSSED).rglob("libtiny.so")
    assert machine_of(artifact) == "aarch64"


def test_an_image_is_built_natively(host: Userland) -> None:
    name = f"envmatrix/{ENVIRONMENT}:runtime-arm64"
    before = subprocess.run(
        ["docker", "image", "inspect", "--format={{.Id}}", name],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    host.envmatrix("build", "--select", CROSSED, "--force")
    after = subprocess.run(
        ["docker", "image", "inspect", "--format={{.Id}}", name],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert after == before
