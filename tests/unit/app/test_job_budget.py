from __future__ import annotations

import pytest
from tests.unit.results.examples import run

from envmatrix.app.job_budget import Histories, histories_of
from envmatrix.jobs.budget import History
from envmatrix.results.queries import StoredRun
from envmatrix.results.records import End
from envmatrix.sessions.outcomes import State

DAY = 24 * 60 * 60


def histories(*rows: tuple[float, str, str, State]) -> Histories:
    """Return the histories after runs, each some days ago, of a verb and a shard."""
    stored = [
        StoredRun(run(int((100 - days) * DAY), verb=verb, shard=shard), End(state, 1.0), {})
        for days, verb, shard, state in rows
    ]
    return histories_of(stored, 100 * DAY)


@pytest.mark.parametrize(
    ("states", "is_new"),
    [
        (("failed", "passed"), True),
        (("errored", "flaky"), True),
        (("failed", "failed"), False),
        (("failed",), False),
        (("passed", "failed"), False),
    ],
)
def test_a_failure_is_new_if_the_run_before_passed(states: tuple[State, ...], is_new: bool) -> None:
    rows = ((days + 0.5, "test", "", state) for days, state in enumerate(states, 3))
    ((_, history), *_) = histories(*rows).items()
    assert history == History(3, is_new_failure=is_new)


def test_shards_are_compared_with_themselves() -> None:
    rows: tuple[tuple[float, str, str, State], ...] = (
        (1, "test", "1/2", "failed"),
        (1, "test", "2/2", "passed"),
        (2, "test", "1/2", "failed"),
        (2, "test", "2/2", "passed"),
    )
    assert not any(history.is_new_failure for history in histories(*rows).values())


def test_tests_count_as_compilations_but_nothing_counts_as_another_kind() -> None:
    days = {
        kind: history.days
        for (kind, _, _), history in histories(
            (1, "compile", "", "passed"), (2, "test", "", "passed"), (3, "perf", "", "passed")
        ).items()
    }
    assert days == {"compile": 1, "test": 2, "measure": 3}


def test_a_run_of_a_clock_that_is_ahead_is_of_today() -> None:
    assert [*histories((-1, "compile", "", "passed")).values()] == [History(0)]
