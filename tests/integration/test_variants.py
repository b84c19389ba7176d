"""Variants of a library, built and tested natively with the images of the library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import CELL, ROOT, Checkout

from envmatrix.confined import Area
from envmatrix.sessions.compilation import cache_hits

FILES = {
    "ops/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(ops LANGUAGES CXX)
enable_testing()
add_executable(ops_test ops_test.cpp)
add_test(NAME sums COMMAND ops_test)
""",
    "device/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(device LANGUAGES CXX CUDA)
enable_testing()
add_executable(device_test device_test.cu)
add_test(NAME standard COMMAND device_test)
""",
    "device/device_test.cu": """\
#include <cstdio>
__global__ void kernel() {}
int main() { std::printf("C++ %ld\\n", __cplusplus); }
""",
    # The sum reads one value too many, which only a sanitizer sees.
    "ops/ops_test.cpp": """\
#include <cstdio>
#include <cstdlib>
#include <vector>
int main() {
  const char *level = std::getenv("LEVEL");
  std::fprintf(stderr, "C++ %ld, level %s\\n", __cplusplus, level ? level : "0");
  std::vector<int> values(8, 1);
  volatile int sum = 0;
  for (int i = 0; i <= 8; ++i) sum += values.data()[i];
  return 0;
}
""",
}
LIBRARIES = """\
libraries:
  ops:
    path: ops
    cuda: none
    variants:
      std: ["17", "20"]
      named:
        slow: {build_type: Debug}
        strict: {sanitizer: asan, std: "20", environment: {LEVEL: "2"}}
      exclude:
        - {named: slow, cells: "*-x86_64", reason: "tests it elsewhere"}
  device:
    path: device
    variants: {named: {new: {std: "20", sm: ["90"]}}}
  licensed:
    path: ops
    cuda: none
    test: none
    variants: {named: {hpc: {sdk: nvhpc-26.5}}}
  vectorops:
    path: examples/vectorops
    build: {options: [-DBUILD_TESTING=OFF]}
    test: none
    artifacts: ["libvectorops.so*"]
    variants:
      named: {small: {definitions: {VECTOROPS_BUILD_BENCHMARKS: "OFF"}}}
"""


@pytest.fixture(scope="module")
def workshop(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with both libraries, locked."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("variants") / "workshop")
    shutil.copytree(ROOT / "examples/vectorops", root / "examples/vectorops")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    with (root / "matrix.yaml").open("a") as matrix:
        matrix.write(LIBRARIES)
    return Checkout(root)


def results(checkout: Checkout, name: str) -> Mapping[str, Any]:
    """Return the newest run of each variant of a library, by its name."""
    options = ("--format", "json", "--library", f"{name}@*")
    document = json.loads(checkout.run("report", *options).stdout)
    return {entry["library"]: entry["runs"][-1] for entry in document["entries"]}


def log_of(checkout: Checkout, variant: str) -> str:
    file = checkout.root / "build" / CELL / variant / "devel/Testing/Temporary/LastTest.log"
    return file.read_text()


def test_each_variant_is_tested_by_itself_and_an_excluded_one_is_not(workshop: Checkout) -> None:
    images = workshop.run("plan", "--json").stdout
    # Results of earlier checkouts would be reused.
    done = workshop.run("test", "--rerun", "--library", "ops@*", expect=1)
    assert f"ops@strict {CELL}" in done.stdout
    runs = results(workshop, "ops")
    assert {name: run["state"] for name, run in runs.items()} == {
        "ops": "passed",
        "ops@cxx20": "passed",
        "ops@strict": "failed",
    }
    assert "C++ 201703, level 0" in log_of(workshop, "ops")
    assert "C++ 202002, level 0" in log_of(workshop, "ops@cxx20")
    strict = log_of(workshop, "ops@strict")
    assert "C++ 202002, level 2" in strict
    assert "heap-buffer-overflow" in strict
    assert workshop.run("plan", "--json").stdout == images
    refusal = workshop.run("run", "test", CELL, "--library", "ops@slow", expect=2).stderr
    assert f"library `ops@slow` is not for `{CELL}`: tests it elsewhere" in refusal


def test_results_of_variants_are_reused_by_themselves(workshop: Checkout) -> None:
    workshop.run("test", "--library", "ops@*", expect=1)
    jobs = json.loads(workshop.run("plan", "--jobs", "--library", "ops@*", "--json").stdout)["jobs"]
    prospects = {job["subject"][0]: job["prospect"] for job in jobs if job["kind"] == "test"}
    assert prospects == {"ops": "reused", "ops@cxx20": "reused", "ops@strict": "to do"}


def test_nvcc_gets_a_standard_that_is_newer_than_cmake(workshop: Checkout) -> None:
    workshop.run("run", "test", CELL, "--library", "device@new")
    assert "C++ 202002" in log_of(workshop, "device@new")


def test_a_variant_takes_objects_that_it_does_not_change_from_the_compiler_cache(
    workshop: Checkout,
) -> None:
    workshop.run("run", "compile", CELL, "--library", "vectorops")
    workshop.run("run", "compile", CELL, "--library", "vectorops@small")
    directory = workshop.root / "build" / CELL / "vectorops@small/devel"
    with Area(directory).opened() as build:
        hits, compilations, *_ = cache_hits(build)
    assert compilations.value >= 8
    assert hits.value >= 90


def test_a_variant_is_compiled_by_a_licensed_sdk_that_is_in_no_image(
    workshop: Checkout, tmp_path: Path
) -> None:
    programs = tmp_path / "nvhpc/compilers/bin"
    programs.mkdir(parents=True)
    # What stands for NVHPC: the names of its compilers, for those of the image.
    for name, compiler in {"nvc": "gcc", "nvc++": "g++"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {compiler} -DSTANDS_IN "$@"\n')
        (programs / name).chmod(0o755)
    configuration = tmp_path / "config/envmatrix/config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f'[sdks]\n"nvhpc-26.5" = "{tmp_path}/nvhpc"\n')
    variables = {**workshop.variables, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    command = ("run", "compile", CELL, "--library", "licensed@hpc")

    refusal = workshop.run(*command, expect=2).stderr
    assert "nothing on this machine says where the SDK `nvhpc-26.5` is" in refusal

    Checkout(workshop.root, variables).run(*command)
    build = workshop.root / "build" / CELL / "licensed@hpc/devel"
    cache = (build / "CMakeCache.txt").read_text()
    assert "CMAKE_CXX_COMPILER:FILEPATH=/opt/nvhpc-26.5/compilers/bin/nvc++\n" in cache
    assert (build / "ops_test").exists()
