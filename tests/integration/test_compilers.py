"""Cells with other compilers, natively and across: their images, and what they compile."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import docker
import pytest
from benchmarks import engine as benchmark_engine
from tests.compilations import State, changed, container, laboratory
from tests.integration.conftest import ROOT, Project
from tests.outputs import cases_of, machine_of

from envmatrix.app.workspace import Workspace
from envmatrix.confined import Area
from envmatrix.lock import lock_file
from envmatrix.sessions.compilation import cache_hits

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
_CACHED_SOON = (("clang16", "devel"), ("clang19-cudaclang", "cross"))
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
    # By fingerprints: others may give the names without one to images of theirs.
    rows = json.loads(project.run("plan", "--json").stdout)
    names = {row["image"].rpartition("-")[0]: row["image"] for row in rows}
    below, above = (
        benchmark_engine.layers([names[f"envmatrix/{ENVIRONMENT}:{flavour}-amd64"]])
        for flavour in (base, f"{base}-{compilers}")
    )
    (layers,), (own,) = below.values(), above.values()
    assert [layer.diff_id for layer in own[: len(layers)]] == [layer.diff_id for layer in layers]
    added = sum(layer.size for layer in own[len(layers) :])
    lock = Workspace(project.root).lock
    key = "devel-gcc12" if base == "devel" else "cross-gcc12-arm64"
    files = lock.sets[f"debian12-amd64-{key}-{compilers.partition('-')[0]}"].artifacts
    assert 0 < added < 1.5 * sum(file.size for file in files)


@pytest.mark.parametrize(
    ("compilers", "arch"),
    [
        pytest.param(*case, marks=() if case in _COMPILED_SOON else pytest.mark.long)
        for case in product(("clang16", "clang19-cudaclang"), ("x86_64", "aarch64"))
    ],
)
def test_a_second_build_with_clang_compiles_nothing_anew(
    project: Project, compilers: str, arch: str
) -> None:
    cell = cell_of(compilers, arch)
    build = project.root / "build" / cell
    for _ in range(2):
        shutil.rmtree(build, ignore_errors=True)
        project.run("run", "compile", cell)
    (log,) = (build / "sums").glob("*/compilations.log")
    with Area(log.parent).opened() as directory:
        hits, *_ = cache_hits(directory)
    assert hits.value == 100


@pytest.mark.parametrize(
    ("compilers", "base"),
    [
        pytest.param(*case, marks=() if case in _CACHED_SOON else pytest.mark.long)
        for case in product(("clang16", "clang19-cudaclang"), ("devel", "cross"))
    ],
)
def test_objects_of_clang_in_the_compiler_cache_are_those_without_it(
    project: Project, compilers: str, base: str, tmp_path: Path
) -> None:
    project.run("build", "--select", f"*-{compilers}-*")
    image, major = f"envmatrix/{ENVIRONMENT}:{base}-{compilers}-amd64", compilers[5:7]
    prefix = "aarch64-linux-gnu-" if base == "cross" else ""
    programs = [f"{prefix}{name}-{major}" for name in ("clang", "clang++")]
    programs += programs[1:] if compilers.endswith("cudaclang") else []
    languages = [State(language=language) for language in ("c", "cpp", "cu")]
    with laboratory(tmp_path, image, "ccache", tuple(programs)) as compilations:
        assert [compilations.check(state) for state in languages] == ["miss"] * 3
        assert [compilations.check(state) for state in languages] == ["hit"] * 3
        for change in (
            ("src/second/host.h", "#define E 2\n"),
            ("src/second/device.h", "#define F 2\n"),
        ):
            assert compilations.check(changed(languages[2], ("file", change))) == "miss"
        assembled = State(extras=("incbin",))
        assert [compilations.check(assembled) for _ in range(2)] == ["uncached"] * 2
    argv = [*container(tmp_path, "ccache", variables={"CCACHE_DIR": "/ccache"}), image]
    command = [*argv, "ccache", "--print-stats"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    counts = dict(line.split("\t") for line in output.splitlines())
    assert int(counts["direct_cache_hit"]) == 3
