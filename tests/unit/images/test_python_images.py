"""Images with a Python other than that of the operating system."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes import Archive, inputs_of, lock_of, write_repository

from envmatrix.errors import ConfigurationError
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.definition import Definition, definition_of
from envmatrix.images.environments import SecondPython, environments
from envmatrix.images.model import images_of
from envmatrix.images.variables import python_variables
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.lock.model import Lock, SourceRequest, SystemRequest, WheelsRequest
from envmatrix.lock.requests import all_requests, drift, requesters_of, requests_of
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import find_cell
from envmatrix.render.sbom import bill_of_materials

AXES = 'cuda: ["12.4"]\nos: [debian12]\narch: [x86_64, aarch64]\ncompiler: [default, gcc-11]'
PYTHONS = f'{AXES}\npython: [default, "3.13", "3.14"]'
LIBRARIES = """\
libraries:
  a: {path: libs/a, build: {requires: [pybind11==3.0.1]}, packages: {deb: [zlib1g-dev]}}
"""
SCRIPT = "sh /scripts/python.sh"


def state_of(home: Path, axes: str) -> tuple[Matrix, Lock]:
    root = write_repository(home / "repository", axes, LIBRARIES)
    matrix = load_matrix(root)
    return matrix, lock_of(matrix, home / "scratch", archive=Archive())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrix, Lock]:
    return state_of(tmp_path_factory.mktemp("plain"), AXES)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrix, Lock]:
    return state_of(tmp_path_factory.mktemp("pythons"), PYTHONS)


def definition(state: tuple[Matrix, Lock]) -> Definition:
    matrix, lock = state
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return definition_of(environment)


def test_another_python_adds_its_own_sets_and_changes_no_other(
    plain: tuple[Matrix, Lock], state: tuple[Matrix, Lock]
) -> None:
    before, after = plain[1].sets, state[1].sets
    assert {key: after[key].request for key in before} == {
        key: row.request for key, row in before.items()
    }
    added = sorted(after.keys() - before.keys())
    assert [key for key in added if not key.startswith("library-")] == [
        "debian12-amd64-python-build",
        "debian12-amd64-python-build-arm64",
        "debian12-amd64-runtime-python",
        "debian12-arm64-runtime-python",
        "python3.13-source",
        "python3.14-source",
    ]
    assert after["python3.14-source"].request == SourceRequest(
        "debian-source", "python3.14", "forky"
    )
    assert drift(state[1], state[0], shipped_recipes()) == ()
    assert loads(dumps(state[1])) == state[1]


def test_wheels_and_packages_of_libraries_are_for_each_python(state: tuple[Matrix, Lock]) -> None:
    sets = state[1].sets
    wheels = {key: row.request for key, row in sets.items() if "-wheels-" in key}
    assert sorted(wheels) == [
        f"library-a-wheels-debian12{python}-{arch}"
        for python in ("+py3.13", "+py3.14", "")
        for arch in ("amd64", "arm64")
    ]
    request = wheels["library-a-wheels-debian12+py3.14-arm64"]
    assert request == WheelsRequest("arm64", "bookworm", ("pybind11==3.0.1",), python="3.14")
    below = {key: row.request for key, row in sets.items() if "+packages-" in key}
    assert len(below) == 2 * len([key for key in below if not key.endswith("-python")])
    for key, packages in below.items():
        assert isinstance(packages, SystemRequest)
        assert key.endswith("-python") == packages.below[-1].endswith("-runtime-python")


def test_a_python_is_what_asks_for_its_packages(state: tuple[Matrix, Lock]) -> None:
    matrix = state[0]
    cell = find_cell(matrix, "cuda12-py3.13-aarch64")
    for key, package in (
        ("debian12-arm64-runtime-python", "libffi8"),
        ("debian12-amd64-python-build-arm64", "libffi-dev"),
    ):
        requesters = requesters_of(package, key, cell, matrix, shipped_recipes())
        assert [*requesters] == ["Python 3.13"]


def test_the_requests_of_the_matrix_are_those_of_its_cells(state: tuple[Matrix, Lock]) -> None:
    matrix, recipes = state[0], shipped_recipes()
    of_cells = [requests_of(cell, matrix, recipes) for cell in matrix.cells]
    every = all_requests(matrix, recipes)
    of_images = {key: row for key, row in every.items() if not key.startswith("library-")}
    assert of_images == {key: row[key] for row in of_cells for key in row}


def test_another_python_changes_no_other_stage(
    plain: tuple[Matrix, Lock], state: tuple[Matrix, Lock]
) -> None:
    before, after = definition(plain), definition(state)
    for image in before.environment.images:
        contents = [row.contents(image.name, image.arch) for row in (before, after)]
        assert contents[0] == contents[1], image


def test_the_images_of_cells_with_other_pythons(state: tuple[Matrix, Lock]) -> None:
    matrix = state[0]
    images = {
        cell.tools: [f"{image.flavour}-{image.arch}" for image in images_of(cell, "amd64")]
        for cell in matrix.cells
        if cell.arch == "aarch64" and cell.python != "3.14"
    }
    assert images == {
        "": ["cross-amd64", "runtime-arm64"],
        "gcc11": ["cross-gcc11-amd64", "runtime-arm64"],
        "py3.13": ["cross-py3.13-amd64", "runtime-py3.13-arm64"],
        "gcc11-py3.13": ["cross-gcc11-py3.13-amd64", "runtime-py3.13-arm64"],
    }
    images_of_environment = set(definition(state).environment.images)
    for cell in matrix.cells:
        for emulate in (False, cell.arch == "aarch64"):
            assert images_of_environment.issuperset(images_of(cell, "amd64", emulate=emulate))


def test_another_python_is_compiled_on_x86_64_alone(state: tuple[Matrix, Lock]) -> None:
    cell = find_cell(state[0], "cuda12-py3.13-aarch64")
    with pytest.raises(ConfigurationError, match=r"Python 3.13 of .* is compiled on x86_64 only"):
        images_of(cell, "arm64")


def test_python_for_another_machine_is_compiled_with_that_of_this_one(
    state: tuple[Matrix, Lock],
) -> None:
    stages = definition(state).stages
    (native,), (crossed,) = (
        stages[f"python3.14-{arch}"].instructions for arch in ("amd64", "arm64")
    )
    assert str(native).endswith(f"{SCRIPT} 3.14")
    assert str(crossed).endswith(f"{SCRIPT} 3.14 aarch64-linux-gnu")
    assert "from=python3.14-amd64" in str(crossed)
    compiling = {name for name, stage in stages.items() if SCRIPT in stage.text}
    assert len(compiling) == 4
    base = stages["base-amd64"]
    for name in compiling:
        stage = stages[name]
        while stage.parent in stages:
            stage = stages[stage.parent]
        assert stage == base


def test_a_python_is_what_build_systems_find(state: tuple[Matrix, Lock]) -> None:
    rows = {row.flavour: python_variables(row) for row in definition(state).environment.pythons}
    assert rows["devel-gcc11-py3.13"] == {
        "Python3_ROOT": "/opt/python/3.13",
        "Python_ROOT": "/opt/python/3.13",
    }
    name = "_PYTHON_SYSCONFIGDATA_NAME"
    assert rows["cross-py3.13"][name] == "_sysconfigdata__linux_aarch64-linux-gnu"
    (cross,) = definition(state).environment.crosses
    free = python_variables(SecondPython("3.14t", "cross", cross))
    assert free[name] == "_sysconfigdata_t_linux_aarch64-linux-gnu"


def test_labels_name_the_compilers_and_the_python(state: tuple[Matrix, Lock]) -> None:
    text = definition(state).stages["devel-gcc11-py3.14"].text
    assert "Compiles programs with CUDA 12.4, GCC 12, GCC 11, Python 3.14" in text


def test_a_bill_of_materials_has_the_source_of_python_and_not_its_compiler(
    state: tuple[Matrix, Lock],
) -> None:
    rows = definition(state)
    (image,) = (
        row for row in rows.environment.images if str(row).endswith(":runtime-py3.13-arm64")
    )
    inputs = inputs_of(image, rows.contents(image.name, image.arch))
    bill = bill_of_materials(rows.environment, inputs, state[1])
    names = {file.name for file in bill.packages}
    assert {"python3.13", "libffi8"} <= names
    assert not {"make", "libffi-dev", "g++-12-aarch64-linux-gnu"} & names
