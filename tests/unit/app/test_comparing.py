"""Comparisons with another revision: which pairs are comparable, and what their verdicts mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.sessions.contexts import context_in

from envmatrix.app.comparing import (
    ComparisonRequest,
    Row,
    comparisons_of,
    outcome_of,
    series_of,
)
from envmatrix.comparison.model import Limits, Pair
from envmatrix.sessions.outcomes import Comparison, Measurement

REQUEST = ComparisonRequest("main", Limits(), 60)


def measured(value: float, name: str = "axpy", unit: str = "ms") -> dict[str, Measurement]:
    return {name: Measurement(name, value, unit, "lower" if unit == "ms" else "higher")}


def compared(rows: list[Row], root: Path) -> dict[str, Comparison]:
    rows_of = comparisons_of(rows, REQUEST, "H100", context_in(root))
    return {row.name: row for row in rows_of}


def test_what_is_better_if_more_is_compared_as_its_reciprocal() -> None:
    rows: list[Row] = [(measured(200.0, unit="GB/s"), measured(100.0, unit="GB/s"))]
    assert series_of(rows) == {"axpy": [Pair(1 / 200, 1 / 100)]}
    rows = [(measured(1.0), measured(2.0))]
    assert series_of(rows) == {"axpy": [Pair(1.0, 2.0)]}


@pytest.mark.parametrize("unit", ["ms", "GB/s"])
def test_a_value_of_zero_is_a_fault(unit: str, tmp_path: Path) -> None:
    rows: list[Row] = [(measured(1.0, unit=unit), measured(0.0, unit=unit))]
    row = compared(rows, tmp_path)["axpy"]
    assert (row.state, row.message) == ("invalid", "invalid; the time is zero in pair 1")


def test_a_slower_benchmark_fails_with_its_effect_and_pairs(tmp_path: Path) -> None:
    pairs = [(1.0 + 0.001 * number, 1.03 + 0.001 * number) for number in range(8)]
    row = compared([(measured(a), measured(b)) for a, b in pairs], tmp_path)["axpy"]
    assert row.state == "slower"
    assert row.effect == pytest.approx(0.03, abs=0.001)
    assert json.loads(row.pairs) == [[*pair] for pair in pairs]
    assert (row.baseline, row.device, row.unit) == ("main", "H100", "ms")
    outcome = outcome_of(row)
    assert (outcome.name, outcome.state) == ("axpy", "failed")
    assert outcome.message == row.message


def test_benchmarks_of_one_side_only_do_not_pass(tmp_path: Path) -> None:
    rows: list[Row] = [
        (measured(1.0, "old") | measured(1.0, "both"), measured(1.0, "both") | measured(1.0, "new"))
    ]
    by_name = compared(rows, tmp_path)
    assert by_name["old"].message == "missing: only the baseline has it"
    assert by_name["new"].message == "new: the baseline does not have it"
    states = {name: outcome_of(row).state for name, row in by_name.items()}
    assert states == {"old": "errored", "new": "skipped", "both": "skipped"}


def test_a_benchmark_that_is_missing_in_one_pair_has_no_verdict(tmp_path: Path) -> None:
    whole: Row = (measured(1.0), measured(1.0))
    row = compared([whole, (measured(1.0), {}), whole], tmp_path)["axpy"]
    assert (row.state, row.message) == ("invalid", "missing: only the baseline has it")


def test_a_changed_unit_is_not_compared(tmp_path: Path) -> None:
    row = compared([(measured(1.0), measured(1.0, unit="GB/s"))], tmp_path)["axpy"]
    assert row.state == "invalid"
    assert row.message == "its unit was `ms, lower is better`, and is `GB/s, higher is better`"


def test_nothing_but_clear_results_passes(tmp_path: Path) -> None:
    few = compared([(measured(1.0), measured(1.5))], tmp_path)["axpy"]
    assert few.state == "undecided"
    assert outcome_of(few).state == "skipped"
