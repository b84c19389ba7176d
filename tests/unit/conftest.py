"""Fixtures of unit tests: a cache of their own, facts, small matrices and their locks."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import fakes
from tests.unit.prompt import Prompt

from envmatrix.documents import parse_document
from envmatrix.facts.model import Facts, load_facts
from envmatrix.lock.model import Lock
from envmatrix.matrix.expand import expand
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

REPOSITORY = Path(__file__).parents[2]

SMALL_AXES = """\
version: "1"
axes:
  cuda: ["11.8", "12.4"]
  os: [debian12, debian13]
  arch: [x86_64, aarch64]
"""

# The axes of a matrix with every kind of cell.
AXES = """\
cuda: ["12.4", "13.0"]
cudnn: [none, "9.28"]
os: [debian12, debian13]
arch: [x86_64, aarch64]"""


@pytest.fixture
def impatient() -> Iterator[None]:
    """Fail instead of waiting, as for the other end of a pipe."""

    def fail(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep values that are derived from repositories of a test out of the user's cache."""
    monkeypatch.setenv("ENVMATRIX_CACHE", str(shared_cache))


@pytest.fixture
def envmatrix(capsys: pytest.CaptureFixture[str]) -> Prompt:
    return Prompt(capsys)


@pytest.fixture(scope="session")
def facts() -> Facts:
    return load_facts()


@pytest.fixture(scope="session")
def shipped() -> Matrix:
    """The matrix of this repository."""
    return load_matrix(REPOSITORY)


@pytest.fixture
def matrix_of(facts: Facts) -> Callable[[str], Matrix]:
    """A function from the rest of a file, which begins at line 6, to the matrix of the small axes
    and that."""

    def build(rest: str) -> Matrix:
        sm = "" if "sm:" in rest else 'sm: ["90"]\n'
        content = f"{SMALL_AXES}{rest}{sm}"
        return expand(parse_document(content.encode(), "matrix.yaml"), facts, {})

    return build


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """A matrix with every kind of cell."""
    return fakes.matrix_of(tmp_path_factory.mktemp("plan") / "repository", AXES)


@pytest.fixture(scope="session")
def lock(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Lock:
    return fakes.lock_of(matrix, tmp_path_factory.mktemp("plan"))
