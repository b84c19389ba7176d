"""Which tests run in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scheduling import APART, group_of

ROOT = Path(__file__).parents[2]


def test_the_tests_of_a_module_are_of_one_group() -> None:
    (group,) = {group_of(f"tests/unit/test_a.py::test_{name}") for name in ("b", "c[d::e]")}
    assert group != group_of("tests/unit/test_b.py::test_c")


@pytest.mark.parametrize("name", sorted(APART))
def test_integration_tests_are_of_two_groups(name: str) -> None:
    module = f"tests/integration/test_{name}.py"
    assert (ROOT / module).exists()
    assert group_of(f"{module}::test_a") == "apart"
    assert group_of("tests/integration/test_new.py::test_a") == "checkouts"
