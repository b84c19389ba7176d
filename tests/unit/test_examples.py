"""The matrices of examples/ are valid, and every set that their locks must have is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

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
