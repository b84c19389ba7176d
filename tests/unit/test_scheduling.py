"""Which tests run in one process, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scheduling import SAME_IMAGES, WITHOUT_IMAGES, Turn, group_of, turn_of

ROOT = Path(__file__).parents[2]
UNIT = "tests/unit/test_a.py::test_a"


def integration(name: str) -> str:
    return f"tests/integration/test_{name}.py::test_a"


def test_the_tests_of_a_module_are_of_one_group() -> None:
    for directory in ("unit", "integration"):
        (group,) = {group_of(f"tests/{directory}/test_a.py::test_{name}") for name in ("b", "c[d]")}
        assert group != group_of(f"tests/{directory}/test_b.py::test_c")


@pytest.mark.parametrize("names", [WITHOUT_IMAGES, *SAME_IMAGES])
def test_some_modules_of_integration_tests_are_one_group(names: frozenset[str]) -> None:
    assert all((ROOT / integration(name).partition("::")[0]).exists() for name in names)
    assert len({group_of(integration(name)) for name in names}) == 1
    assert {group_of(f"tests/unit/test_{name}.py::test_a") for name in names}.isdisjoint(
        {group_of(integration(name)) for name in names}
    )


def test_tests_that_wait_for_no_image_begin_and_unit_tests_end() -> None:
    first = turn_of(integration("bazel"), alone=False)
    others = turn_of(integration("new"), alone=False)
    last = turn_of(integration("new"), alone=True)
    assert sorted([turn_of(UNIT, alone=False), last, others, first]) == [
        Turn.WITHOUT_IMAGES,
        Turn.WITH_IMAGES,
        Turn.ALONE,
        Turn.UNIT,
    ]
