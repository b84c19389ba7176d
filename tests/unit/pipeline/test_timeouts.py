from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.pipeline.timeouts import LONGEST, START, limit, p99


def test_the_p99_is_a_value_that_99_of_100_do_not_exceed() -> None:
    values = [float(number) for number in range(1, 201)]
    assert p99(values) == 198
    assert p99(values[:50]) == 50
    assert p99([7.0]) == 7


@pytest.mark.parametrize(
    ("recorded", "images", "minutes"),
    [
        ([], 0, 60),
        ([], 300, 70),
        ([0.0], 0, 10),
        ([30.0, 60.0], 0, 12),
        ([61.0], 0, 13),
        ([60.0], 120, 16),
        ([36000.0], 0, 360),
        ([], 10**9, 360),
    ],
)
def test_a_limit_is_twice_the_p99_and_a_start_or_an_hour_without_records(
    recorded: list[float], images: float, minutes: int
) -> None:
    assert limit(recorded, images) == minutes


seconds = st.floats(min_value=0, max_value=1e9)


@given(st.lists(seconds), seconds, seconds)
def test_a_limit_is_never_below_a_start_nor_above_the_longest(
    recorded: list[float], images: float, more: float
) -> None:
    minutes = limit(recorded, images)
    assert START <= minutes <= LONGEST
    assert limit(recorded, images + more) >= minutes
