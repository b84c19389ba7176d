from __future__ import annotations

import json

import pytest

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import outcomes
from envmatrix.sessions.outcomes import State, TestOutcome


def outcome(name: str, state: State, message: str = "") -> TestOutcome:
    return TestOutcome(name, state, 1.0, message)


def test_what_passes_when_it_is_tried_again_is_flaky_and_says_why_it_failed() -> None:
    first = [outcome("a", "failed", "once"), outcome("b", "passed"), outcome("c", "errored")]
    again = [outcome("a", "passed"), outcome("c", "failed", "twice")]
    assert outcomes.merge_retries(first, again) == (
        TestOutcome("a", "flaky", 1.0, "once", attempts=2),
        outcome("b", "passed"),
        TestOutcome("c", "failed", 1.0, "twice", attempts=2),
    )


def test_what_is_not_tried_again_stays_as_it_was() -> None:
    assert outcomes.merge_retries([outcome("a", "failed")], []) == (outcome("a", "failed"),)


def test_no_outcome_hides_a_worse_one_of_its_name() -> None:
    failure, success = outcome("a", "failed"), outcome("a", "passed")
    for pair in ([failure, success], [success, failure]):
        assert [result.state for result in outcomes.worst_by_name(pair)] == ["failed"]
        assert [
            result.state for result in outcomes.merge_retries([outcome("a", "errored")], pair)
        ] == ["failed"]
        assert [result.state for result in outcomes.merge_retries(pair, [])] == ["failed"]


def test_of_outcomes_of_one_name_the_worse_counts_and_the_time_of_both() -> None:
    pair = (outcome("a", "failed", "no"), outcome("a", "passed"))
    result = (TestOutcome("a", "failed", 2.0, "no"),)
    assert outcomes.worst_by_name(pair) == result
    assert outcomes.worst_by_name(result) == result


def test_errors_of_malformed_output_say_what_cannot_be_read() -> None:
    with (
        pytest.raises(EnvmatrixError, match=r"^it is no list: ") as failure,
        outcomes.parse_errors("it is no list", "leave it out"),
    ):
        json.loads("[")
    assert failure.value.hint == "leave it out"
