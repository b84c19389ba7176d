"""Libraries with packages of the operating system, and with archives that they would download:
locked, compiled and tested, native and crossed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import CELL, CROSSED, ENVIRONMENT, Checkout

FILES = {
    "topo/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(topo LANGUAGES C)
enable_testing()
find_package(PkgConfig REQUIRED)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)
add_executable(units units.c)
target_link_libraries(units PRIVATE PkgConfig::HWLOC)
add_test(NAME units COMMAND units)
""",
    "topo/units.c": """\
#include <hwloc.h>
int main(void) {
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) || hwloc_topology_load(topology)) return 1;
  return hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU) < 1;
}
""",
    "lattice/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(lattice LANGUAGES C Fortran)
enable_testing()
add_executable(sums sums.f90)
add_test(NAME sums COMMAND sums)
""",
    "lattice/sums.f90": """\
program sums
  implicit none
  if (sum([1, 2, 3]) /= 6) stop 1
  print *, "summed"
end program sums
""",
    "fetching/CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(fetching LANGUAGES CXX)
enable_testing()
include(FetchContent)
FetchContent_Declare(googletest URL https://releases.example/googletest.tar.gz)
FetchContent_Declare(pybind11 GIT_REPOSITORY https://git.example/pybind11 GIT_TAG v2.13.6)
FetchContent_MakeAvailable(googletest pybind11)
if(NOT EXISTS "${pybind11_SOURCE_DIR}/pybind11/include/pybind11/pybind11.h")
  message(FATAL_ERROR "no pybind11")
endif()
include(ExternalProject)
ExternalProject_Add(notes URL "${NOTES_URL}" CONFIGURE_COMMAND "" BUILD_COMMAND ""
                    INSTALL_COMMAND "${CMAKE_COMMAND}" -E copy <SOURCE_DIR>/README.rst /build/notes)
add_executable(adds adds.cpp)
target_link_libraries(adds PRIVATE GTest::gtest_main)
add_test(NAME adds COMMAND adds)
""",
    "fetching/adds.cpp": """\
#include <gtest/gtest.h>
TEST(Adds, Numbers) { EXPECT_EQ(1 + 1, 2); }
""",
}
LIBRARIES = """\
libraries:
  fetching:
    path: fetching
    cuda: none
    build: {options: ["-DNOTES_URL={archive:notes}"]}
    archives:
      googletest: {debian: googletest, suite: debian12}
      pybind11: {sdist: pybind11, version: "2.13.6"}
      notes: {sdist: pybind11, version: "2.13.6"}
      gtest: {debian: googletest, suite: debian12}
  lattice: {path: lattice, cuda: none, packages: {deb: [gfortran]}}
  topo:
    path: topo
    cuda: none
    packages:
      deb:
        - libhwloc-dev
        - pkgconf:native
"""

ARCHES = "arch: [x86_64, aarch64]"
VERSIONS = {"gcc11": "Debian 11.", "clang16": "clang version 16."}


@pytest.fixture(scope="module")
def workshop(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with such libraries, locked for two architectures."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("packages") / "workshop")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    file = root / "matrix.yaml"
    file.write_text(file.read_text() + LIBRARIES)
    checkout = Checkout(root)
    checkout.add_aarch64()
    return checkout


@pytest.fixture(scope="module")
def with_compilers(
    workshop: Checkout, engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Checkout]:
    """A copy of the checkout whose cells have other compilers as well."""
    checkout = copied(workshop, tmp_path_factory.mktemp("compilers") / "workshop")
    file = checkout.root / "matrix.yaml"
    axis = f"{ARCHES}\n  compiler: [default, gcc-11, clang-16]"
    file.write_text(file.read_text().replace(ARCHES, axis))
    checkout.run("lock")
    checkout.run("generate")
    checkout.run("lock", "--check")
    yield checkout
    for image in engine.images.list(f"envmatrix/{ENVIRONMENT}"):
        for name in image.tags:
            if re.search(r":devel-(gcc11|clang16)", name):
                engine.images.remove(name)


def copied(checkout: Checkout, root: Path) -> Checkout:
    shutil.copytree(checkout.root, root, ignore=shutil.ignore_patterns("build"))
    return Checkout(root)


def fingerprints(checkout: Checkout) -> Mapping[str, str]:
    rows = json.loads(checkout.run("plan", "--json").stdout)
    return {row["image"]: row["fingerprint"] for row in rows}


def test_other_images_and_sets_stay_as_they_are(workshop: Checkout, checkout: Checkout) -> None:
    checkout.add_aarch64()
    before, after = (fingerprints(each) for each in (checkout, workshop))
    assert before.items() <= after.items()
    names = (name.partition(":")[2] for name in after.keys() - before.keys())
    assert {name.rpartition("-")[0] for name in names} == {
        *("devel-for-topo-amd64", "runtime-for-topo-amd64"),
        *("cross-for-topo-amd64", "runtime-for-topo-arm64"),
        *("devel-for-lattice-amd64", "runtime-for-lattice-amd64"),
        *("cross-for-lattice-amd64", "runtime-for-lattice-arm64"),
    }


@pytest.mark.parametrize("library", ["topo", "lattice"])
@pytest.mark.parametrize("cell", [CELL, CROSSED])
def test_a_library_is_compiled_and_tested_with_its_packages(
    workshop: Checkout, cell: str, library: str
) -> None:
    done = workshop.run("run", "test", cell, "--library", library)
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("cell", [CELL, CROSSED])
def test_what_a_build_would_download_is_there(workshop: Checkout, cell: str) -> None:
    done = workshop.run("run", "test", cell, "--library", "fetching")
    assert "1 passed" in done.stdout
    assert "asks for its archive `gtest`" in done.stderr
    assert done.stderr.count("asks for its archive") == 1
    (build,) = (workshop.root / "build" / cell / "fetching").glob("*/notes")
    assert "pybind11" in build.read_text()


def test_programs_and_libraries_of_a_library_are_in_its_images_only(
    workshop: Checkout, engine: docker.DockerClient
) -> None:
    workshop.run("run", "compile", CELL)
    for name, answer in (("devel-amd64", "missing"), ("devel-for-topo-amd64", "present")):
        command = "test -e /usr/include/hwloc.h && echo present || echo missing"
        image = f"envmatrix/{ENVIRONMENT}:{name}"
        output = engine.containers.run(image, ["sh", "-c", command], remove=True)
        assert output.decode().strip() == answer


def test_why_names_the_library(workshop: Checkout) -> None:
    lines = workshop.run("why", "libhwloc-dev").stdout
    assert "requested by library `topo`" in lines
    assert f"used by {CROSSED}" in lines


@pytest.mark.long
def test_images_of_libraries_are_the_same_when_they_are_built_again(workshop: Checkout) -> None:
    workshop.run("build", "--select", CELL)
    done = workshop.run("verify", ENVIRONMENT)
    rows = re.findall(r"(?m)^equal +\S+:(\S+)-[0-9a-f]{12} ", done.stdout + done.stderr)
    assert {"devel-for-topo-amd64", "runtime-for-topo-amd64"} <= set(rows)


def test_images_of_libraries_are_published_and_pulled(
    workshop: Checkout, registry: str, tmp_path: Path
) -> None:
    checkout = copied(workshop, tmp_path / "publishing")
    checkout.use(f"{registry}/packages")
    checkout.run("build")
    checkout.run("push", "--select", CELL)
    index = checkout.published.find(ENVIRONMENT, "devel-for-topo")
    assert index
    assert "amd64" in index.images
    checkout.run("pull", "--select", CELL)
    checkout.run("images", "check")


@pytest.mark.parametrize("compilers", ["gcc11", "clang16"])
def test_a_library_is_compiled_by_another_compiler_with_its_packages(
    with_compilers: Checkout, engine: docker.DockerClient, compilers: str
) -> None:
    cell = f"{ENVIRONMENT}-{compilers}-x86_64"
    done = with_compilers.run("run", "test", cell, "--library", "topo")
    assert "1 passed" in done.stdout
    image = f"envmatrix/{ENVIRONMENT}:devel-{compilers}-for-topo-amd64"
    output = engine.containers.run(image, ["cc", "--version"], remove=True).decode()
    assert VERSIONS[compilers] in output


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("libhwlok-dev", "`debian12` has no package `libhwlok-dev`"),
        ("libipmctl-dev", f"library `topo` needs it for `arm64` in `{CROSSED}`"),
    ],
)
def test_a_package_that_cannot_be_had_is_reported_with_its_line(
    workshop: Checkout, tmp_path: Path, name: str, message: str
) -> None:
    checkout = copied(workshop, tmp_path / "mistaken")
    file = checkout.root / "matrix.yaml"
    file.write_text(file.read_text().replace("- libhwloc-dev", f"- {name}"))
    line = 1 + file.read_text().splitlines().index(f"        - {name}")
    error = checkout.run("lock", expect=2).stderr
    assert f"error: matrix.yaml:{line}:11: " in error
    assert message in error
