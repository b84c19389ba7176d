"""Changes in histories of measurements."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.comparison.history import Change, Sample, changes


def history(*levels: tuple[float, int], noise: float = 0.005, seed: int = 1) -> list[Sample]:
    """Return a history of levels, each with its number of revisions."""
    random = Random(seed)  # noqa: S311 -- the same noise in every run
    values = [level * (1 + random.gauss(0, noise)) for level, count in levels for _ in range(count)]
    return [Sample(f"r{number}", value) for number, value in enumerate(values)]


def test_a_step_is_located_with_its_size() -> None:
    (change,) = changes(history((1.0, 40), (1.02, 40)))
    assert abs(change.index - 40) <= 2
    assert (change.before, change.after) == (f"r{change.index - 1}", f"r{change.index}")
    assert change.low < 0.02 < change.high
    assert change.effect == pytest.approx(0.02, abs=0.005)


def test_steps_in_both_directions_are_told_apart() -> None:
    up, down = changes(history((1.0, 40), (1.05, 30), (1.0, 40)))
    assert up.index == pytest.approx(40, abs=1)
    assert down.index == pytest.approx(70, abs=1)
    assert up.effect > 0 > down.effect


def test_noise_and_single_bad_runs_are_no_changes() -> None:
    samples = history((1.0, 100))
    for number in (20, 21, 50, 80):
        samples[number] = Sample(f"r{number}", 1.5)
    assert changes(samples) == []


def test_a_change_within_the_margin_is_none() -> None:
    samples = history((1.0, 60), (1.004, 60), noise=0.0005)
    assert changes(samples) == []
    assert len(changes(samples, margin=0.001)) == 1


def test_another_series_is_no_change() -> None:
    old = [Sample(row.revision, row.value, "driver 550") for row in history((1.0, 40))]
    new = [Sample(row.revision, row.value, "driver 580") for row in history((1.2, 40), seed=2)]
    assert changes([*old, *new]) == []
    (change,) = changes([*old, *new, *history((1.0, 30), (1.1, 30))])
    assert change.index == pytest.approx(110, abs=2)


def test_values_that_are_none_do_not_count() -> None:
    samples = history((1.0, 40), (1.05, 40))
    for number, value in ((5, math.nan), (50, math.inf), (60, 0.0), (70, -1.0)):
        samples[number] = Sample(f"r{number}", value)
    (change,) = changes(samples)
    assert change.index == pytest.approx(40, abs=1)


def test_few_values_have_no_changes() -> None:
    assert changes([]) == []
    assert changes(history((1.0, 3), (2.0, 3))) == []


def test_constant_values_have_no_changes() -> None:
    assert changes(history((1.0, 50), noise=0.0)) == []


@given(
    st.lists(st.builds(Sample, st.text(max_size=2), st.floats(), st.integers(0, 1)), max_size=40)
)
def test_any_history_has_changes_in_order_within_it(samples: list[Sample]) -> None:
    rows = changes(samples)
    assert all(isinstance(row, Change) and 0 < row.index < len(samples) for row in rows)
    assert all(row.low <= row.effect <= row.high for row in rows)
    for series in (0, 1):
        indices = [row.index for row in rows if samples[row.index].series == series]
        assert indices == sorted(set(indices))


@given(st.lists(st.floats(0.5, 2.0), min_size=8, max_size=60), st.floats(1e-3, 1e3))
def test_changes_do_not_depend_on_the_unit(values: list[float], factor: float) -> None:
    rows = changes([Sample("", value) for value in values])
    scaled = changes([Sample("", value * factor) for value in values])
    assert [row.index for row in rows] == [row.index for row in scaled]
