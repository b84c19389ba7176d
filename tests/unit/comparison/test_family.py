"""Verdicts about one benchmark, and about many together."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.comparison.decision import looks
from envmatrix.comparison.family import decide
from envmatrix.comparison.model import Limits, Pair, Verdict, percent

VALUES = st.one_of(st.floats(), st.floats(1e-9, 1e9))
LIMITS = Limits()


def pairs(effect: float = 0.0, count: int = 8, noise: float = 0.002, seed: int = 1) -> list[Pair]:
    """Return pairs of a change that takes `effect` more time, with Gaussian noise."""
    numbers = random.Random(seed)  # noqa: S311 -- the same noise in every run
    values = [(1 + numbers.gauss(0, noise), 1 + numbers.gauss(0, noise)) for _ in range(count)]
    return [Pair(baseline, change * (1 + effect)) for baseline, change in values]


def verdict(rows: Sequence[Pair], limits: Limits = LIMITS) -> Verdict:
    return decide({"axpy": rows}, limits).verdicts["axpy"]


def test_a_slowdown_is_told_with_its_size() -> None:
    row = verdict(pairs(0.03))
    assert row.state == "slower"
    assert row.low < 0.03 < row.high
    assert str(row).startswith("slower by 3.")


def test_a_speedup_is_faster() -> None:
    assert verdict(pairs(-0.03)).state == "faster"


def test_what_did_not_change_is_equal_within_a_bound() -> None:
    row = verdict(pairs(0.0, 16))
    assert row.state == "equal"
    assert row.bound <= LIMITS.margin
    assert str(row) == f"equal within {percent(row.bound)}"


def test_few_pairs_decide_nothing_and_tell_how_many_more_may() -> None:
    row = verdict(pairs(0.5, 7))
    assert row.state == "undecided"
    assert row.more > 0
    noisy = verdict(pairs(0.0, 32, noise=0.05))
    assert noisy.state == "undecided"
    assert noisy.more > 32
    assert f"about {noisy.more} more pairs" in str(noisy)


@given(st.integers(1, 200))
def test_all_looks_share_the_probability_of_a_false_alarm(most: int) -> None:
    rows = looks(most)
    assert sum(part for _, part in rows) == pytest.approx(1)
    counts = [count for count, _ in rows]
    assert counts == sorted(set(counts))
    assert counts[-1] <= most


def test_one_of_many_needs_more_evidence_than_one_alone() -> None:
    eight = pairs(0.03)
    assert verdict(eight).state == "slower"
    others = {f"other {number}": pairs(0.0, 8, seed=number) for number in range(2, 500)}
    together = decide({"axpy": eight, **others}, LIMITS)
    assert together.verdicts["axpy"].state == "undecided"
    more = decide({"axpy": pairs(0.03, 24), **others}, LIMITS)
    assert more.verdicts["axpy"].state == "slower"
    assert [name for name, row in more.verdicts.items() if row.state == "slower"] == ["axpy"]


def test_all_of_many_need_no_more_evidence_than_one_alone() -> None:
    every = {f"kernel {number}": pairs(0.03, 8, seed=number) for number in range(100)}
    states = {row.state for row in decide(every, LIMITS).verdicts.values()}
    assert states == {"slower"}


def test_measuring_goes_on_while_something_is_undecided() -> None:
    decision = decide({"a": pairs(0.03, 12), "b": pairs(0.0, 12, noise=0.02)}, LIMITS)
    assert decision.open == ["b"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0.0, "the time is zero in pair 3"),
        (-1.0, "the time is negative, as after a clock was set back in pair 3"),
        (math.nan, "the value is no number in pair 3"),
        (math.inf, "the value is infinite in pair 3"),
    ],
)
def test_a_value_that_is_no_time_has_no_verdict(value: float, reason: str) -> None:
    for broken in (Pair(value, 1.0), Pair(1.0, value)):
        row = verdict([*pairs()[:2], broken, *pairs()[3:]])
        assert (row.state, [*row.notes]) == ("invalid", [reason])
        assert str(row) == f"invalid; {reason}"


def test_a_series_without_pairs_has_no_verdict() -> None:
    assert [*verdict([]).notes] == ["nothing was measured"]


def test_values_in_other_units_have_no_verdict() -> None:
    row = verdict([*pairs(), Pair(1.0, 1e6)])
    assert "are they of one unit?" in row.notes[0]


def test_constant_values_have_no_verdict() -> None:
    row = verdict([Pair(1.0, 1.0)] * 8)
    assert row.state == "invalid"
    assert "the timer is too coarse" in row.notes[0]


def test_pairs_with_a_lower_clock_do_not_count() -> None:
    rows = [Pair(row.baseline, row.change, (1980, 1980)) for row in pairs(0.03, 12)]
    slow = [Pair(1.0, 1.3, (1980, 1386)), Pair(1.3, 1.0, (1386, 1980))]
    row = verdict([*slow, *rows])
    assert (row.state, row.pairs) == ("slower", 12)
    assert "clocks were not 1980 MHz in 2 pairs, which do not count" in row.notes[0]


def test_clocks_that_drop_in_half_of_the_pairs_leave_the_others() -> None:
    usual = [Pair(row.baseline, row.change, (1980, 1980)) for row in pairs(0.0, 16)]
    slow = [Pair(row.baseline, row.change * 1.3, (1980, 1386)) for row in pairs(0.0, 16, seed=2)]
    rows = [row for both in zip(usual, slow, strict=True) for row in both]
    row = verdict(rows)
    assert (row.state, row.pairs) == ("equal", 16)
    assert "in 16 pairs, which do not count" in row.notes[0]


def test_clocks_that_are_never_the_same_leave_no_verdict() -> None:
    rows = [Pair(1.0, 1.0 + number / 99, (1980, 1386)) for number in range(8)]
    row = verdict(rows)
    assert row.state == "invalid"
    assert "in 8 pairs of 8" in row.notes[0]


@given(st.dictionaries(st.text(max_size=3), st.lists(st.builds(Pair, VALUES, VALUES), max_size=12)))
def test_any_values_have_one_verdict_each(series: dict[str, list[Pair]]) -> None:
    decision = decide(series, LIMITS)
    assert decision.verdicts.keys() == series.keys()
    for name, row in decision.verdicts.items():
        assert str(row)
        assert row.state != "equal" or len(series[name]) >= 8
        assert all(map(math.isfinite, (row.effect, row.low, row.high)))
