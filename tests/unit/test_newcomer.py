"""The quick start of the README, which `./noxw -s newcomer` runs."""

from __future__ import annotations

import pytest
from benchmarks.newcomer import MOST_COMMANDS, MOST_SECONDS, problems
from tests.readme import ROOT, quick_start
from tests.tables import keys
from website.tutorial import blocks

from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import State

COMMANDS = quick_start()
VERBS = [command.split()[1] for command in COMMANDS[1:]]


def case(state: State) -> Case:
    return Case(state, "", "", state, 0.1)


def test_the_quick_start_has_few_commands() -> None:
    assert len(COMMANDS) <= MOST_COMMANDS
    assert COMMANDS[0].startswith("python3 -m pip install dist/")
    assert VERBS == ["init", "lock", "generate", "test"]


def test_the_measured_steps_are_these_commands() -> None:
    steps = [*keys("docs/newcomers.md", "steps")]
    assert [step for step in steps if step in COMMANDS] == [*COMMANDS]
    assert {*steps} - {*COMMANDS} == {"envmatrix doctor --fix"}


def test_the_tutorial_has_the_same_commands_in_the_same_order() -> None:
    lines = "".join(blocks((ROOT / "docs/tutorial.md").read_text("utf-8"))).splitlines()
    verbs = [line.split()[1] for line in lines if line.startswith("envmatrix ")]
    first = [verbs.index(verb) for verb in VERBS]
    assert first == sorted(first)


@pytest.mark.parametrize(
    ("commands", "seconds", "states", "expected"),
    [
        (COMMANDS, MOST_SECONDS, ("passed", "skipped"), []),
        ((*COMMANDS, "true"), 1.0, ("passed",), ["there are 6 commands, more than 5"]),
        (COMMANDS, 301.0, ("passed",), ["they take 301 s, more than 300 s"]),
        (COMMANDS, 1.0, ("passed", "failed"), ["tests failed: failed"]),
        (COMMANDS, 1.0, ("skipped",), ["no test passed"]),
        (COMMANDS, 1.0, (), ["no test passed"]),
    ],
)
def test_a_missed_target_is_a_problem(
    commands: tuple[str, ...], seconds: float, states: tuple[State, ...], expected: list[str]
) -> None:
    assert [*problems(commands, seconds, [*map(case, states)])] == expected
