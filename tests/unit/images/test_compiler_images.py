"""Images with compilers other than the default ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes import Archive, lock_of, matrix_of, write_repository

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.compiler_cache import compiler_cache
from envmatrix.images.definition import Definition, definition_of
from envmatrix.images.environments import environments
from envmatrix.images.model import CompilerCache, analysis_image, dev_image, images_of
from envmatrix.images.variables import compiler_variables
from envmatrix.lock.model import Lock, SystemRequest
from envmatrix.lock.requests import all_requests, drift, requesters_of, requests_of
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import find_cell

AXES = 'cuda: ["12.4"]\nos: [debian12]\narch: [x86_64, aarch64]'
COMPILERS = f"{AXES}\ncompiler: [default, gcc-11, clang-16]"
DEVEL = """\
flavour: devel
extends: runtime
components: [nvcc, cccl]
packages: [ccache, "g++-{gcc}", "gfortran-{gcc}"]
"""
CUDA_CLANG = """\
include:
  - {cuda: "12.4", os: debian12, compiler: clang-19, cuda_compiler: clang, arch: x86_64}
  - {cuda: "12.4", os: debian12, compiler: clang-19, cuda_compiler: clang, arch: aarch64}
"""


def state_of(home: Path, axes: str, rest: str = "") -> tuple[Matrix, Lock]:
    root = write_repository(home / "repository", axes, rest)
    (root / "envs/devel.yaml").write_text(DEVEL, encoding="utf-8")
    matrix = load_matrix(root)
    return matrix, lock_of(matrix, home / "scratch", archive=Archive())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrix, Lock]:
    return state_of(tmp_path_factory.mktemp("plain"), AXES)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrix, Lock]:
    return state_of(tmp_path_factory.mktemp("compilers"), COMPILERS, CUDA_CLANG)


def definition(state: tuple[Matrix, Lock]) -> Definition:
    matrix, lock = state
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return definition_of(environment)


def packages(state: tuple[Matrix, Lock], key: str) -> set[str]:
    request = state[1].sets[key].request
    assert isinstance(request, SystemRequest)
    return {spec.name for spec in request.packages}


def test_another_compiler_adds_its_own_sets_and_changes_no_other(
    plain: tuple[Matrix, Lock], state: tuple[Matrix, Lock]
) -> None:
    before, after = plain[1].sets, state[1].sets
    assert {key: after[key].request for key in before} == {
        key: row.request for key, row in before.items()
    }
    assert sorted(after.keys() - before.keys()) == [
        "debian12-amd64-cross-gcc12-arm64-clang16",
        "debian12-amd64-cross-gcc12-arm64-clang19",
        "debian12-amd64-cross-gcc12-arm64-gcc11",
        "debian12-amd64-devel-gcc12-clang16",
        "debian12-amd64-devel-gcc12-clang19",
        "debian12-amd64-devel-gcc12-gcc11",
        "debian12-arm64-devel-gcc12-clang16",
        "debian12-arm64-devel-gcc12-clang19",
        "debian12-arm64-devel-gcc12-gcc11",
    ]
    assert drift(state[1], state[0], shipped_recipes()) == ()


def test_a_gcc_has_the_packages_with_its_major_in_their_names(state: tuple[Matrix, Lock]) -> None:
    assert packages(state, "debian12-amd64-devel-gcc12-gcc11") == {"g++-11", "gfortran-11"}
    assert packages(state, "debian12-amd64-cross-gcc12-arm64-gcc11") == {"g++-11-aarch64-linux-gnu"}
    for key in ("devel-gcc12", "cross-gcc12-arm64"):
        assert packages(state, f"debian12-amd64-{key}-clang16") == {"clang-16"}


def test_a_compiler_is_what_asks_for_its_packages(state: tuple[Matrix, Lock]) -> None:
    matrix = state[0]
    cell = find_cell(matrix, "cuda12-clang16-aarch64")
    for key in ("debian12-amd64-cross-gcc12-arm64-clang16", "debian12-arm64-devel-gcc12-clang16"):
        requesters = requesters_of("clang-16", key, cell, matrix, shipped_recipes())
        assert [*requesters] == ["compiler `clang-16`"]


def test_sanitizers_of_clang_come_with_a_variant_that_has_one(tmp_path: Path) -> None:
    library = "libraries: {a: {path: libs/a, variants: {sanitizer: [none, asan]}}}\n"
    axes = 'cuda: ["12.4"]\nos: [debian12]\narch: [x86_64]\ncompiler: [clang-16]'
    requests = all_requests(matrix_of(tmp_path, axes, library), shipped_recipes())
    request = requests["debian12-amd64-devel-gcc12-clang16"]
    assert isinstance(request, SystemRequest)
    assert {spec.name for spec in request.packages} == {"clang-16", "libclang-rt-16-dev"}


def test_the_requests_of_the_matrix_are_those_of_its_cells(state: tuple[Matrix, Lock]) -> None:
    matrix, recipes = state[0], shipped_recipes()
    of_cells = [requests_of(cell, matrix, recipes) for cell in matrix.cells]
    assert all_requests(matrix, recipes) == {key: row[key] for row in of_cells for key in row}


def test_another_compiler_changes_no_other_stage(
    plain: tuple[Matrix, Lock], state: tuple[Matrix, Lock]
) -> None:
    before, after = definition(plain), definition(state)
    for image in before.environment.images:
        contents = [row.contents(image.flavour, image.arch) for row in (before, after)]
        assert contents[0] == contents[1], image


def test_the_images_of_cells_with_other_compilers(state: tuple[Matrix, Lock]) -> None:
    matrix = state[0]
    images = {
        cell.compilers: [f"{image.flavour}-{image.arch}" for image in images_of(cell, "amd64")]
        for cell in matrix.cells
        if cell.arch == "aarch64"
    }
    assert images == {
        "": ["cross-amd64", "runtime-arm64"],
        "gcc11": ["cross-gcc11-amd64", "runtime-arm64"],
        "clang16": ["cross-clang16-amd64", "runtime-arm64"],
        "clang19-cudaclang": ["cross-clang19-cudaclang-amd64", "runtime-arm64"],
    }
    images_of_environment = set(definition(state).environment.images)
    for cell in matrix.cells:
        for host in ("amd64", "arm64"):
            assert images_of_environment.issuperset(images_of(cell, host, emulate=host != "amd64"))


def test_optional_flavours_are_over_images_with_other_compilers(tmp_path: Path) -> None:
    """Their packages are those over `devel`."""
    rest = f"policy: {{dev_images: on}}\n{CUDA_CLANG}"
    root = write_repository(tmp_path / "repository", COMPILERS, rest)
    analysis = "flavour: analysis\nextends: devel\npackages: [clang-tidy]\n"
    (root / "envs/analysis.yaml").write_text(analysis, encoding="utf-8")
    matrix = load_matrix(root)
    rows = matrix, lock_of(matrix, tmp_path / "scratch", archive=Archive())
    stages, images = definition(rows).stages, definition(rows).environment.images
    for name in ("analysis", "dev"):
        for compilers in ("gcc11", "clang16", "clang19-cudaclang"):
            flavour = f"{name}-{compilers}"
            assert stages[flavour].parent == f"devel-{compilers}"
            assert f"{name}-files" in stages[f"{flavour}-packages"].text
            assert [row.arch for row in images if row.flavour == flavour] == (["amd64", "arm64"])
    assert "Clang 16" in stages["analysis-clang16"].text
    cell = find_cell(matrix, "cuda12-clang16-x86_64")
    assert analysis_image(cell).flavour == "analysis-clang16"
    assert dev_image(images_of(cell, "amd64")[0]).flavour == "dev-clang16"


def test_sanitizers_of_clang_come_with_the_flavour_that_uses_them(tmp_path: Path) -> None:
    axes = 'cuda: ["12.4"]\nos: [debian12]\narch: [x86_64]\ncompiler: [clang-16]'
    root = write_repository(tmp_path / "repository", axes)
    analysis = "flavour: analysis\nextends: devel\npackages: [clang-tidy]\n"
    (root / "envs/analysis.yaml").write_text(analysis, encoding="utf-8")
    request = all_requests(load_matrix(root), shipped_recipes())[
        "debian12-amd64-devel-gcc12-clang16"
    ]
    assert isinstance(request, SystemRequest)
    assert {spec.name for spec in request.packages} == {"clang-16", "libclang-rt-16-dev"}


def test_compilers_are_what_build_systems_find(state: tuple[Matrix, Lock]) -> None:
    environment = definition(state).environment
    rows = {row.flavour: compiler_variables(environment, row) for row in environment.compilers}
    assert rows["devel-gcc11"] == {
        "CC": "gcc-11",
        "CXX": "g++-11",
        "CUDAHOSTCXX": "g++-11",
        "NVCC_CCBIN": "g++-11",
        "FC": "gfortran-11",
    }
    assert rows["cross-clang16"]["CXX"] == "aarch64-linux-gnu-clang++-16"
    assert rows["cross-clang16"]["NVCC_CCBIN"] == "aarch64-linux-gnu-clang++-16"
    clang = rows["cross-clang19-cudaclang"]
    assert (clang["CUDACXX"], clang["CUDAHOSTCXX"]) == ("aarch64-linux-gnu-clang++-19", "")
    assert clang["CUDAFLAGS"] == "--cuda-path=/usr/local/cuda"


def test_a_compiler_for_cuda_as_well_is_installed_once(tmp_path: Path) -> None:
    axes = (
        'cuda: ["11.8"]\nos: [debian12]\narch: [x86_64]\n'
        "compiler: [clang-14, clang-16]\ncuda_compiler: [nvcc, clang]"
    )
    include = 'exclude: [{compiler: clang-14, cuda_compiler: clang, reason: "why"}]\n'
    rows = definition(state_of(tmp_path, axes, include))
    stages = [name for name in rows.stages if "clang" in name and name.endswith("-packages")]
    assert stages == ["devel-clang14-packages", "devel-clang16-packages"]


def caches_of(state: tuple[Matrix, Lock]) -> dict[str, CompilerCache | None]:
    matrix, lock = state
    return {
        cell.id.removeprefix("cuda12.4-debian12-"): compiler_cache(
            cell, images_of(cell, "amd64")[0], lock
        )
        for cell in matrix.cells
    }


def test_each_compiler_has_its_own_objects_in_the_compiler_cache(
    state: tuple[Matrix, Lock],
) -> None:
    caches = caches_of(state)
    toolchains = {name: cache.toolchain for name, cache in caches.items() if cache}
    assert toolchains.keys() == caches.keys()
    assert len({*toolchains.values()}) == len(toolchains)
    assert all(cache and cache.languages == ("C", "CXX", "CUDA") for cache in caches.values())


def test_sccache_is_used_for_gcc_only(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "repository", COMPILERS)
    (root / "envs/devel.yaml").write_text(DEVEL.replace("ccache", "sccache"), encoding="utf-8")
    matrix = load_matrix(root)
    caches = caches_of((matrix, lock_of(matrix, tmp_path / "scratch", archive=Archive())))
    assert {name for name, cache in caches.items() if cache} == {
        f"{compilers}{arch}" for compilers in ("", "gcc11-") for arch in ("x86_64", "aarch64")
    }
