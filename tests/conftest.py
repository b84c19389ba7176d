from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from tests.scheduling import Groups, turn_of

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("envmatrix", deadline=None)
settings.load_profile("envmatrix")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew; review the diff"
    )
    parser.addoption(
        "--every-release",
        action="store_true",
        help="measure every CUDA release, not only the oldest and the newest",
    )

    parser.addoption(
        "--finders",
        action="store_true",
        help="look for what build systems look for in every way that a build is invoked",
    )
    parser.addoption(
        "--update-discovery",
        action="store_true",
        help="write the tables of docs/discovery.md anew; review the diff",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: turn_of(item.nodeid, alone=item.get_closest_marker("alone") is not None)
    )


@pytest.fixture
def update_discovery(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-discovery"))


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
