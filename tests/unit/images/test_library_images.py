"""Images of libraries with packages of the operating system, over those of flavours."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes import cell_of, lock_of, matrix_of

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.compiler_cache import compiler_cache
from envmatrix.images.definition import Definition, definition_of
from envmatrix.images.environments import environments
from envmatrix.images.model import Image, images_of, images_with_libraries, library_image
from envmatrix.lock.model import Lock
from envmatrix.matrix.model import Matrix
from envmatrix.plan.garbage import planned_images

AXES = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64, aarch64]'
COMPILERS = f"{AXES}\ncompiler: [default, gcc-11, clang-16]"
PLAIN = "libraries: {plain: {path: plain}, topo: {path: topo}}\n"
PACKAGES = """\
libraries:
  plain: {path: plain}
  topo: {path: topo, packages: {deb: [libhwloc-dev]}}
  tool: {path: tool, packages: {deb: ["gperf:native"]}, cells: ["*-x86_64"]}
"""
NAME = "cuda13.0-debian12"


def definition_with(
    directory: Path, rest: str, axes: str = AXES
) -> tuple[Matrix, Lock, Definition]:
    matrix = matrix_of(directory / "repository", axes, rest)
    lock = lock_of(matrix, directory / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return matrix, lock, definition_of(environment)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrix, Lock, Definition]:
    return definition_with(tmp_path_factory.mktemp("images"), PACKAGES)


@pytest.fixture(scope="module")
def matrix(rows: tuple[Matrix, Lock, Definition]) -> Matrix:
    return rows[0]


@pytest.fixture(scope="module")
def definition(rows: tuple[Matrix, Lock, Definition]) -> Definition:
    return rows[2]


def image_names(images: tuple[Image, ...]) -> list[str]:
    return [str(image).removeprefix(f"{NAME}:") for image in images]


def test_a_library_has_an_image_over_each_that_it_needs_packages_in(
    definition: Definition,
) -> None:
    names = image_names(definition.environment.images)
    assert [name for name in names if "-for-" in name] == [
        "devel-for-tool-amd64",
        "runtime-for-topo-amd64",
        "devel-for-topo-amd64",
        "runtime-for-topo-arm64",
        "devel-for-topo-arm64",
        "cross-for-topo-amd64",
    ]


def test_other_images_stay_as_they_are(definition: Definition, tmp_path: Path) -> None:
    _, _, before = definition_with(tmp_path, PLAIN)
    for image in before.environment.images:
        own, other = (each.contents(image.name, image.arch) for each in (before, definition))
        assert own.fingerprint(image.arch) == other.fingerprint(image.arch)


def test_an_image_of_a_library_is_one_layer_over_that_of_its_flavour(
    definition: Definition,
) -> None:
    own = definition.contents("devel-for-topo", "amd64").stages
    below = definition.contents("devel", "amd64").stages
    assert own.keys() - below.keys() == {
        "devel-for-topo",
        "packages-devel-for-topo",
        "files-devel-for-topo-amd64",
    }
    stage = definition.stages["devel-for-topo"]
    assert stage.parent == "devel"
    words = [str(instruction).partition(" ")[0] for instruction in stage.instructions]
    assert words == ["RUN", "LABEL"]


def test_a_cross_image_gets_the_architecture_of_its_packages(definition: Definition) -> None:
    text = definition.stages["cross-for-topo"].text
    assert "dpkg --add-architecture arm64\nsh /scripts/install.sh\n" in text
    assert "add-architecture" not in definition.stages["devel-for-topo"].text


def test_a_library_works_in_its_images(matrix: Matrix) -> None:
    libraries = {library.name: library for library in matrix.libraries}
    cell = cell_of(matrix, f"{NAME}-x86_64")
    images = images_of(cell, "amd64")

    def image_of(name: str) -> list[str]:
        return [library_image(image, libraries[name], cell, matrix).name for image in images]

    assert image_of("plain") == ["devel", "runtime"]
    assert image_of("topo") == ["devel-for-topo", "runtime-for-topo"]
    assert image_of("tool") == ["devel-for-tool", "runtime"]


def test_build_directories_are_called_after_flavours(matrix: Matrix) -> None:
    topo = next(library for library in matrix.libraries if library.name == "topo")
    cell = cell_of(matrix, f"{NAME}-aarch64")
    image = library_image(images_of(cell, "amd64")[0], topo, cell, matrix)
    assert (image.flavour, image.is_cross) == ("cross", True)


def test_the_images_of_a_cell_are_those_of_its_libraries_as_well(matrix: Matrix) -> None:
    cell = cell_of(matrix, f"{NAME}-aarch64")
    images = dict.fromkeys(images_with_libraries(cell, images_of(cell, "amd64"), matrix))
    assert [image.name for image in images] == [
        "cross",
        "cross-for-topo",
        "runtime",
        "runtime-for-topo",
    ]


def test_a_garbage_collection_keeps_images_of_libraries(definition: Definition) -> None:
    contents = definition.contents("runtime-for-topo", "arm64")
    assert contents.fingerprint("arm64") in planned_images([definition])


def test_the_files_of_a_library_are_needs_of_its_images_only(definition: Definition) -> None:
    environment = definition.environment

    def sets_of(name: str) -> set[str]:
        stages = definition.contents(name, "amd64").stages
        return {*environment.needs_of(stages, "amd64", "amd64").sets}

    own = sets_of("devel-for-topo") - sets_of("devel")
    assert own == {"library-topo+packages-debian12-amd64-devel-gcc12"}


def test_packages_of_a_library_may_change_the_compiler_of_its_cache(tmp_path: Path) -> None:
    rest = PACKAGES.replace("[libhwloc-dev]", "[gcc-13, ccache]").replace("gperf", "ccache")
    matrix, lock, _ = definition_with(tmp_path, rest)
    cell = cell_of(matrix, f"{NAME}-x86_64")
    libraries = {library.name: library for library in matrix.libraries}
    caches = {}
    for name in ("topo", "tool"):
        image = library_image(images_of(cell, "amd64")[0], libraries[name], cell, matrix)
        caches[name] = compiler_cache(cell, image, lock)
    assert len({cache.toolchain for cache in caches.values() if cache}) == 2


def test_a_library_has_images_over_those_with_other_compilers(tmp_path: Path) -> None:
    cells = '"*-gcc11-*", "*-clang16-x86_64"'
    rest = f"libraries: {{topo: {{path: topo, packages: [libhwloc-dev], cells: [{cells}]}}}}\n"
    _, _, definition = definition_with(tmp_path, rest, COMPILERS)
    names = image_names(definition.environment.images)
    assert sorted(name for name in names if "-for-" in name) == [
        "cross-gcc11-for-topo-amd64",
        "devel-clang16-for-topo-amd64",
        "devel-gcc11-for-topo-amd64",
        "devel-gcc11-for-topo-arm64",
        "runtime-for-topo-amd64",
        "runtime-for-topo-arm64",
    ]
    stage = definition.stages["devel-gcc11-for-topo"]
    assert stage.parent == "devel-gcc11"
    assert "GCC 12, GCC 11, for the library topo" in stage.text


def test_a_library_has_the_same_runtime_image_with_each_compiler(tmp_path: Path) -> None:
    matrix, _, _ = definition_with(tmp_path, PACKAGES, COMPILERS)
    topo = next(library for library in matrix.libraries if library.name == "topo")
    cell = cell_of(matrix, f"{NAME}-clang16-aarch64")
    images = [library_image(image, topo, cell, matrix) for image in images_of(cell, "amd64")]
    assert [image.name for image in images] == ["cross-clang16-for-topo", "runtime-for-topo"]


def test_build_systems_find_the_compiler_of_fortran(tmp_path: Path) -> None:
    rest = "libraries: {topo: {path: topo, packages: {deb: [gfortran]}}}\n"
    _, _, definition = definition_with(tmp_path, rest, COMPILERS)
    for flavour, compiler in (
        ("devel", "gfortran-12"),
        ("devel-clang16", "gfortran-12"),
        ("cross", "aarch64-linux-gnu-gfortran-12"),
        ("cross-gcc11", "aarch64-linux-gnu-gfortran-12"),
    ):
        assert f"FC={compiler}" in definition.stages[f"{flavour}-for-topo"].text.split()
        assert "FC=" not in definition.stages[flavour].text
    assert "FC=" not in definition.stages["runtime-for-topo"].text


def test_a_compiler_of_fortran_of_the_build_machine_is_not_that_of_the_target(
    tmp_path: Path,
) -> None:
    rest = 'libraries: {topo: {path: topo, packages: {deb: ["gfortran:native"]}}}\n'
    _, _, definition = definition_with(tmp_path, rest)
    assert "FC=" not in definition.stages["cross-for-topo"].text
