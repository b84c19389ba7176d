"""The repository of an adopter, on the real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import github
from tests.adopter import install
from tests.integration.conftest import base as base
from tests.integration.conftest import engine as engine
from tests.integration.conftest import envmatrix as envmatrix

from envmatrix.machine.origins import Origins


@pytest.fixture(scope="session")
def wheels(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the wheel of this checkout, which is installed beside it."""
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="session")
def runner_image(base: str) -> str:
    """An image with what a runner of GitHub has."""
    return github.image(base, Origins().archive("debian")[0])
