"""A matrix with every kind of cell, and its lock."""

from __future__ import annotations

import pytest
from tests.fakes import lock_of, matrix_of

from envmatrix.lock.model import Lock
from envmatrix.matrix.model import Matrix

AXES = """\
cuda: ["12.4", "13.0"]
cudnn: [none, "9.28"]
os: [debian12, debian13]
arch: [x86_64, aarch64]"""


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return matrix_of(tmp_path_factory.mktemp("plan") / "repository", AXES)


@pytest.fixture(scope="session")
def lock(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Lock:
    return lock_of(matrix, tmp_path_factory.mktemp("plan"))
