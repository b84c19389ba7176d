"""Cells with other compilers, natively and across: their images, and what they compile."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import product

import docker
import pytest
from benchmarks import engine as benchmark_engine
from tests.integration.conftest import ROOT, Project
from tests.outputs import cases_of, machine_of

from envmatrix.app.workspace import Workspace
from envmatrix.lock import lock_file

# Its images have the names of those of the repository, which other tests build and remove.
pytestmark = pytest.mark.alone

ENVIRONMENT = "cuda12.4-debian12"
# The images of the default compilers are those of the repository: they have the same `sm`.
MATRIX = """\
version: "1"
axes:
  cuda: ["12.4"]
  os: [debian12]
  compiler: [default, gcc-11, clang-16]
  arch: [x86_64, aarch64]
include:
  - {cuda: "12.4", os: debian12, compiler: clang-19, cuda_compiler: clang, arch: x86_64}
  - {cuda: "12.4", os: debian12, compiler: clang-19, cuda_compiler: clang, arch: aarch64}
sm: ["75", "80", "86", "90"]
libraries:
  sums: {path: sums, artifacts: ["libsums.so"], test: {framework: ctest}}
"""
FILES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(sums LANGUAGES C CXX CUDA)
enable_testing()
add_library(sums SHARED sums.cpp device.cu plain.c)
add_executable(sums_test test.cpp)
target_link_libraries(sums_test PRIVATE sums)
add_test(NAME sums COMMAND sums_test)
""",
    "plain.c": "int one(void) { return 1; }\n",
    "sums.cpp": """\
#include <numeric>
#include <vector>
int sum(int count) {
  std::vector<int> values(count, 1);
  return std::accumulate(values.begin(), values.end(), 0);
}
""",
    "device.cu": """\
#include <cmath>
#include <vector>
__global__ void scale(float *values, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] = sinf(values[i]) * 2;
}
int launch(int count) {
  std::vector<float> values(count, 1);
  float *device = nullptr;
  if (cudaMalloc(&device, count * sizeof(float)) != cudaSuccess) return 1;
  scale<<<1, 32>>>(device, count);
  return cudaDeviceSynchronize() == cudaSuccess ? 0 : 1;
}
""",
    "test.cpp": "int sum(int);\nint main() { return sum(8) == 8 ? 0 : 1; }\n",
}
# What compilers write into the objects that they make.
COMMENTS = {
    "": rb"GCC: \(Debian 12\.",
    "gcc11": rb"GCC: \(Debian 11\.",
    "clang16": rb"Debian clang version 16\.",
    "clang19-cudaclang": rb"Debian clang version 19\.",
}
# Cases that do not wait for the long tests: each kind of compiler, native or across.
_COMPILED_SOON = (("gcc11", "aarch64"), ("clang16", "x86_64"), ("clang19-cudaclang", "aarch64"))
_COMPARED_SOON = (("gcc11", "devel"), ("clang16", "cross"))
OBJECTS = ("sums.cpp.o", "device.cu.o", "plain.c.o")


@pytest.fixture(scope="module")
def project(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("compilers")
    root = directory / "repository"
    shutil.copytree(ROOT / "envs", root / "envs")
    shutil.copy(ROOT / lock_file.FILE, root)
    for name, text in FILES.items():
        (root / "sums").mkdir(exist_ok=True)
        (root / "sums" / name).write_text(text)
    (root / "matrix.yaml").write_text(MATRIX)
    project = Project(root, {"XDG_CONFIG_HOME": str(directory / "config")})
    project.lock()
    yield project
    for image in engine.images.list(f"envmatrix/{ENVIRONMENT}"):
        for name in image.tags:
            if re.search(r":(devel|cross)-(gcc|clang)", name):
                engine.images.remove(name)


def cell_of(compilers: str, arch: str) -> str:
    return "-".join(filter(None, (ENVIRONMENT, compilers, arch)))


@pytest.mark.parametrize(
    ("compilers", "arch"),
    [
        pytest.param(*case, marks=() if case in _COMPILED_SOON else pytest.mark.long)
        for case in product(COMMENTS, ("x86_64", "aarch64"))
    ],
)
def test_a_library_is_compiled_by_the_compilers_of_its_cell(
    project: Project, compilers: str, arch: str
) -> None:
    cell = cell_of(compilers, arch)
    project.run("run", "test", cell)
    directory = project.root / "build" / cell / "sums"
    (build,) = directory.glob("*/CMakeFiles/sums.dir")
    for name in OBJECTS:
        content = (build / name).read_bytes()
        assert re.search(COMMENTS[compilers], content), name
        others = [text for key, text in COMMENTS.items() if key != compilers]
        assert not any(re.search(text, content) for text in others), name
    assert b".nv_fatbin" in (build / "device.cu.o").read_bytes()
    assert machine_of(build.parents[1] / "libsums.so") == arch
    (case,) = cases_of(directory / "junit.xml")
    assert case.state == "passed"


@pytest.mark.parametrize(
    ("compilers", "base"),
    [
        pytest.param(*case, marks=() if case in _COMPARED_SOON else pytest.mark.long)
        for case in product(filter(None, COMMENTS), ("devel", "cross"))
    ],
)
def test_another_compiler_adds_only_its_own_packages(
    project: Project, compilers: str, base: str
) -> None:
    project.run("build")
    below, above = (
        benchmark_engine.layers([f"envmatrix/{ENVIRONMENT}:{flavour}-amd64"])
        for flavour in (base, f"{base}-{compilers}")
    )
    (layers,), (own,) = below.values(), above.values()
    assert [layer.diff_id for layer in own[: len(layers)]] == [layer.diff_id for layer in layers]
    added = sum(layer.size for layer in own[len(layers) :])
    lock = Workspace(project.root).lock
    key = "devel-gcc12" if base == "devel" else "cross-gcc12-arm64"
    files = lock.sets[f"debian12-amd64-{key}-{compilers.partition('-')[0]}"].artifacts
    assert 0 < added < 1.5 * sum(file.size for file in files)
