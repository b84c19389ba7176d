"""Every case of `libraries.py` on the real engine: nothing outside of its build directory is
touched, it is told in a message, in little time and memory, and the next library is unharmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hostile.libraries import Case, groups
from tests.hostile.running import Answer, check_case, check_group, run_group

GROUPS = {group.name: group for group in groups()}
CASES = [pytest.param(group.name, case, id=case.name) for group in groups() for case in group.cases]


@pytest.fixture(scope="session")
def answers(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Answer]:
    """Run a group when its first case is asked for."""
    ended: dict[str, Answer] = {}

    def answer(name: str) -> Answer:
        if name not in ended:
            ended[name] = run_group(GROUPS[name], template, tmp_path_factory.mktemp(name))
        return ended[name]

    return answer


@pytest.mark.parametrize(("group", "case"), CASES)
def test_a_library_harms_nothing_but_itself(
    answers: Callable[[str], Answer], group: str, case: Case
) -> None:
    check_case(answers(group), case)


@pytest.mark.parametrize("group", GROUPS)
def test_the_libraries_between_are_unharmed_and_nothing_printed_is_a_command(
    answers: Callable[[str], Answer], group: str
) -> None:
    check_group(answers(group))
