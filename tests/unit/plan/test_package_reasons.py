"""Why a package is in a lock."""

from __future__ import annotations

import pytest
from tests.fakes import lock_of, matrix_of, with_set

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.model import Lock, PackageSet, WheelsRequest
from envmatrix.matrix.model import Matrix
from envmatrix.plan.package_reasons import Membership, memberships

AXES = """\
cuda: ["13.0", "13.5"]
os: [debian12]
arch: [x86_64, aarch64]"""
LIBRARY = """\
libraries:
  solver:
    path: .
    build: {system: python, requires: ["scikit_build.core==1.0"]}
    cells: ["*x86_64"]
"""
X86_64 = ("cuda13.0-debian12-x86_64", "cuda13.5-debian12-x86_64")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return matrix_of(tmp_path_factory.mktemp("reasons") / "repository", AXES, LIBRARY)


@pytest.fixture(scope="module")
def lock(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Lock:
    return lock_of(matrix, tmp_path_factory.mktemp("scratch"))


def reasons(package: str, lock: Lock, matrix: Matrix) -> dict[str, Membership]:
    rows = memberships(package, lock, matrix, shipped_recipes())
    return {row.key: row for row in rows}


def ids(row: Membership) -> tuple[str, ...]:
    return tuple(cell.id for cell in row.cells)


def test_a_package_that_a_flavour_lists_is_requested_by_it(matrix: Matrix, lock: Lock) -> None:
    rows = reasons("cmake", lock, matrix)
    assert rows.keys() == {"debian12-amd64-runtime", "debian12-arm64-runtime"}
    row = rows["debian12-arm64-runtime"]
    assert (row.version, row.is_requested, row.requesters) == (
        "1.0-1",
        True,
        ("flavour `runtime`",),
    )
    assert ids(row) == ("cuda13.0-debian12-aarch64", "cuda13.5-debian12-aarch64")


def test_a_dependency_comes_with_what_its_set_requests(matrix: Matrix, lock: Lock) -> None:
    row = reasons("libuv1", lock, matrix)["debian12-amd64-runtime"]
    assert (row.is_requested, row.requesters, row.requests) == (False, (), ("cmake",))


def test_a_part_of_cuda_is_requested_by_its_component(matrix: Matrix, lock: Lock) -> None:
    row = reasons("nvidia-cuda-cccl", lock, matrix)["cuda13.5-pypi-devel-amd64"]
    assert (row.requesters, ids(row)) == (("component `cccl`",), X86_64[1:])


def test_the_base_and_the_unpackers_are_requested_by_nothing_of_the_matrix(
    matrix: Matrix, lock: Lock
) -> None:
    row = reasons("unzip", lock, matrix)["debian12-amd64-unpackers"]
    assert (row.is_requested, row.requesters) == (True, ())
    assert len(row.cells) == 4
    base = reasons("dash", lock, matrix)["debian12-amd64-base"]
    assert (base.is_requested, base.requests[0]) == (False, "?essential")


def test_a_wheel_is_requested_by_its_library_however_its_name_is_written(
    matrix: Matrix, lock: Lock
) -> None:
    key = "library-solver-wheels-debian12-amd64"
    assert isinstance(lock.sets[key].request, WheelsRequest)
    (artifact, *_) = lock.sets["debian12-amd64-runtime"].artifacts
    wheel = type(artifact)("pypi", "p", "scikit-build-core", "1.2", 1, "0" * 64)
    lock = with_set(lock, key, PackageSet(lock.sets[key].request, (wheel,)))
    row = reasons("scikit-build-core", lock, matrix)[key]
    assert (row.requesters, ids(row)) == (("library `solver`",), X86_64)


def test_a_set_that_no_cell_uses_has_no_cells(matrix: Matrix, lock: Lock) -> None:
    lock = with_set(lock, "old", lock.sets["debian12-amd64-runtime"])
    assert reasons("cmake", lock, matrix)["old"].cells == ()


def test_a_package_that_is_in_no_set_has_no_reason(matrix: Matrix, lock: Lock) -> None:
    assert reasons("cmake-data", lock, matrix) == {}
