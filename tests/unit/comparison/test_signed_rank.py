"""The signed-rank test, against all signs and against published tables."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.comparison.signed_rank import estimate, p_value

NUMBERS = st.integers(-5, 5).map(float)  # with ties and zeros
SOME = st.lists(NUMBERS, min_size=1, max_size=9)


def rank_sum(values: list[float]) -> float:
    """Return the sum of positive ranks, by counting."""
    sizes = [abs(value) for value in values]
    ranks = [
        sum(other < size for other in sizes) + (sum(other == size for other in sizes) + 1) / 2
        for size in sizes
    ]
    return sum(rank for rank, value in zip(ranks, values, strict=True) if value > 0)


@given(SOME)
def test_the_probability_is_the_share_of_all_signs_with_as_large_a_sum(values: list[float]) -> None:
    observed = rank_sum(values)
    signs = [*product((1, -1), repeat=len(values))]
    sums = [
        rank_sum([sign * value for sign, value in zip(row, values, strict=True)]) for row in signs
    ]
    assert p_value(values) == pytest.approx(sum(row >= observed for row in sums) / len(signs))


@pytest.mark.parametrize(
    # Hollander, Wolfe, Chicken, table A.4: P(T+ >= x) for n values.
    ("count", "least", "probability"),
    [(5, 15, 0.031), (8, 33, 0.020), (10, 45, 0.042), (12, 62, 0.039)],
)
def test_probabilities_are_those_of_published_tables(
    count: int, least: int, probability: float
) -> None:
    missing, values = count * (count + 1) // 2 - least, []
    for rank in range(count, 0, -1):  # the ranks that are negative make up what is missing
        is_negative = rank <= missing
        missing -= rank if is_negative else 0
        values.append(float(-rank if is_negative else rank))
    assert p_value(values) == pytest.approx(probability, abs=0.0006)


def test_no_values_say_nothing() -> None:
    assert p_value([]) == 1.0
    assert p_value([0.0, 0.0]) == 1.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=24))
def test_an_interval_contains_its_centre_and_lies_within_the_values(values: list[float]) -> None:
    row = estimate(values, 0.01)
    assert min(values) <= row.low <= row.centre <= row.high <= max(values)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=16), st.floats(-1e3, 1e3))
def test_an_interval_moves_with_its_values(values: list[float], shift: float) -> None:
    row, moved = estimate(values, 0.01), estimate([value + shift for value in values], 0.01)
    for before, after in ((row.low, moved.low), (row.centre, moved.centre), (row.high, moved.high)):
        assert after == pytest.approx(before + shift, abs=1e-6)


def test_an_interval_excludes_what_the_test_rejects() -> None:
    values = [0.5 + 0.01 * number for number in range(12)]
    assert p_value(values) < 0.005
    assert estimate(values, 0.01).low > 0
    few = values[:4]  # nothing could be rejected: the whole range
    assert (estimate(few, 0.01).low, estimate(few, 0.01).high) == (few[0], few[-1])
