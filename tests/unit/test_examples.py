"""The matrices of examples/ are valid, and every set that their locks must have is known."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.prompt import Prompt

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.requests import all_requests, sets_of
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

EXAMPLES = sorted(
    file.parent for file in (Path(__file__).parents[2] / "examples").glob("*/matrix.yaml")
)


def with_bases(matrix: Matrix) -> Matrix:
    """Return the matrix with an image for each system that cannot be bootstrapped."""
    systems = (os for os in matrix.axes["os"] if not matrix.facts.os[os].family.bootstrapped)
    return replace(matrix, bases={os: f"{os}@sha256:{'0' * 64}" for os in systems})


@pytest.mark.parametrize("directory", EXAMPLES, ids=lambda directory: directory.name)
def test_every_set_that_an_example_needs_is_known(directory: Path) -> None:
    matrix, recipes = with_bases(load_matrix(directory)), shipped_recipes()
    requests = all_requests(matrix, recipes)
    below = {key for request in requests.values() for key in getattr(request, "below", ())}
    assert below
    assert below | sets_of(matrix.cells, matrix, recipes) <= requests.keys()


def test_init_proposes_the_packages_of_the_smallest_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, envmatrix: Prompt
) -> None:
    example = next(directory for directory in EXAMPLES if directory.name == "minimal")
    root = tmp_path / "minimal"
    shutil.copytree(example, root, ignore=shutil.ignore_patterns("matrix.yaml", "envs"))
    monkeypatch.chdir(root)
    assert envmatrix("init", "--yes", "--cuda", "13.5", "--os", "debian12").status == 0
    proposed, written = load_matrix(root), load_matrix(example)
    packages = [set(matrix.flavours["devel"].packages) for matrix in (written, proposed)]
    assert packages[0] <= packages[1]
    assert [entry.build for entry in proposed.libraries] == [e.build for e in written.libraries]
