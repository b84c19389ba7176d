"""A small matrix that the tests of the matrix change one thing of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envmatrix.matrix.document import parse_document
from envmatrix.matrix.expand import expand
from envmatrix.matrix.facts import Facts, load_facts
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

REPOSITORY = Path(__file__).parents[3]

AXES = """\
version: "1"
axes:
  cuda: ["11.8", "12.4"]
  os: [debian12, debian13]
  arch: [x86_64, aarch64]
"""


@pytest.fixture(scope="session")
def facts() -> Facts:
    return load_facts()


@pytest.fixture(scope="session")
def shipped() -> Matrix:
    """The matrix of this repository."""
    return load_matrix(REPOSITORY)


@pytest.fixture
def matrix_of(facts: Facts) -> Callable[[str], Matrix]:
    """The matrix of the axes above and the rest of a file, which begins at line 6."""

    def build(rest: str) -> Matrix:
        sm = "" if "sm:" in rest else 'sm: ["90"]\n'
        content = f"{AXES}{rest}{sm}"
        return expand(parse_document(content.encode(), "matrix.yaml"), facts, {})

    return build
