from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.prompt import Prompt


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of repositories that last for a test is not kept in the user's cache."""
    monkeypatch.setenv("ENVMATRIX_CACHE", str(shared_cache))


@pytest.fixture
def envmatrix(capsys: pytest.CaptureFixture[str]) -> Prompt:
    return Prompt(capsys)
