from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from envmatrix.retries import ATTEMPTS, retry


def action_of(*outcomes: str | Exception) -> Callable[[], str]:
    remaining: Iterator[str | Exception] = iter(outcomes)

    def action() -> str:
        outcome = next(remaining)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return action


def test_pauses_double_and_are_as_long_as_the_error_asks_for() -> None:
    pauses: list[float] = []
    least = {"first": 0.0, "second": 7.0, "third": 0.0}
    errors = map(OSError, least)
    result = retry(
        action_of(*errors, "done"), lambda error: least[str(error)], pauses.append, first_pause=2
    )
    assert (result, pauses) == ("done", [2, 7, 8])


def test_an_error_that_stays_is_raised_at_once() -> None:
    pauses: list[float] = []
    with pytest.raises(OSError, match="for ever"):
        retry(action_of(OSError("for ever"), "done"), lambda _: None, pauses.append)
    assert pauses == []


def test_the_last_error_is_raised() -> None:
    pauses: list[float] = []
    errors = [OSError(str(number)) for number in range(ATTEMPTS)]
    with pytest.raises(OSError, match=str(ATTEMPTS - 1)):
        retry(action_of(*errors), lambda _: 0, pauses.append)
    assert len(pauses) == ATTEMPTS - 1
