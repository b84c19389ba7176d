from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.prompt import Prompt


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of repositories that last for a test is not kept in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVMATRIX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def envmatrix(capsys: pytest.CaptureFixture[str]) -> Prompt:
    return Prompt(capsys)
