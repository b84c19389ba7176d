from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import lock_of, matrix_of, write_repository

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.cross_images import Cross
from envmatrix.images.definition import definition_of
from envmatrix.images.environments import Environment, environments
from envmatrix.images.scripts import toolchain_files
from envmatrix.images.variables import cross_variables
from envmatrix.matrix.loading import load_matrix

AXES = """\
cuda: ["12.6"]
os: [debian12]
arch: [x86_64, aarch64, jetson, windows, qnx, drive]"""
BINUTILS = {"AR", "AS", "LD", "NM", "OBJCOPY", "OBJDUMP", "RANLIB", "READELF", "SIZE", "STRIP"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    home = tmp_path_factory.mktemp("cross")
    matrix = matrix_of(home / "repository", AXES)
    lock = lock_of(matrix, home / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return environment


def crosses(environment: Environment) -> dict[str, Cross]:
    return {cross.target.name: cross for cross in environment.crosses}


@pytest.mark.parametrize("target", ["aarch64", "jetson", "windows"])
def test_every_program_that_build_systems_name_is_of_the_target(
    environment: Environment, target: str
) -> None:
    cross = crosses(environment)[target]
    values = cross_variables(environment, cross)
    assert {*BINUTILS, "CC", "CXX", "CROSS_COMPILE"} <= values.keys()
    for name in (*BINUTILS, "CC", "CXX"):
        assert values[name].startswith(cross.target.prefix), name
    assert values["CROSS_COMPILE"] == cross.target.prefix


def test_programs_of_the_build_machine_have_names_of_their_own(environment: Environment) -> None:
    values = cross_variables(environment, crosses(environment)["aarch64"])
    own = {"CC_FOR_BUILD": "gcc-12", "HOSTCC": "gcc-12", "BUILD_CXX": "g++-12"}
    assert own.items() <= values.items()


def test_the_prefix_has_every_compiler_without_a_version(environment: Environment) -> None:
    targets = crosses(environment)["aarch64"].links
    assert targets["aarch64-linux-gnu-gcc"] == "aarch64-linux-gnu-gcc-12"
    assert targets["aarch64-linux-gnu-c++"] == "aarch64-linux-gnu-g++-12"
    assert crosses(environment)["windows"].links == {}


@pytest.mark.parametrize("target", ["aarch64", "jetson", "windows", "qnx", "drive"])
def test_pkg_config_looks_nowhere_that_the_build_machine_has_its_libraries(
    environment: Environment, target: str
) -> None:
    directories = cross_variables(environment, crosses(environment)[target])["PKG_CONFIG_LIBDIR"]
    assert directories
    assert "x86_64-linux-gnu" not in directories
    assert "/usr/lib/pkgconfig" not in directories.split(":")


def test_cmake_ignores_the_libraries_of_the_build_machine(environment: Environment) -> None:
    text = toolchain_files(crosses(environment)["aarch64"])[0].text
    ignored = re.findall(r"set\(CMAKE_SYSTEM_IGNORE_PATH\n +([^)]*)\)", text)
    assert ignored
    assert {"/usr/lib/x86_64-linux-gnu"} <= set(ignored[0].split())


def test_tests_of_every_target_are_listed_when_they_run(environment: Environment) -> None:
    mode = "set(CMAKE_GTEST_DISCOVER_TESTS_DISCOVERY_MODE PRE_TEST)"
    assert all(mode in toolchain_files(cross)[0].text for cross in environment.crosses)


def test_wheels_have_the_platform_of_the_target_and_extensions_its_suffix(
    environment: Environment,
) -> None:
    cross = crosses(environment)["aarch64"]
    assert cross_variables(environment, cross)["_PYTHON_HOST_PLATFORM"] == "linux-aarch64"
    # A module that is not there would keep Python from starting.
    assert "_PYTHON_SYSCONFIGDATA_NAME" not in cross_variables(environment, cross)
    values = cross_variables(environment, replace(cross, has_python=True))
    assert values["_PYTHON_SYSCONFIGDATA_NAME"] == "_sysconfigdata__aarch64-linux-gnu"


def test_an_architecture_is_added_before_its_packages_are_installed(tmp_path: Path) -> None:
    write_repository(tmp_path / "repository", AXES.replace(", jetson, windows, qnx, drive", ""))
    file = tmp_path / "repository/envs/devel.yaml"
    file.write_text(file.read_text().replace("ninja-build", 'ninja-build, "zlib1g-dev:{target}"'))
    matrix = load_matrix(tmp_path / "repository")
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    stages = definition_of(environment).stages
    assert "dpkg --add-architecture arm64\nsh /scripts/install.sh" in stages["cross-packages"].text
    files = {item.filename for item in stages["cross-files-amd64"].artifacts}
    assert "zlib1g-dev_1.0-1_arm64.deb" in files
