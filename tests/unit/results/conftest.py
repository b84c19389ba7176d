from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envmatrix.results.database import Database, connect


@pytest.fixture
def url(tmp_path: Path) -> str | Path:
    """Return the place of an empty store; tests/integration/test_postgresql.py has another."""
    return tmp_path / "results.sqlite"


@pytest.fixture
def database(url: str | Path) -> Iterator[Database]:
    with connect(url) as database:
        yield database
