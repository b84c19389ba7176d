"""Comparisons of benchmarks on pages."""

from __future__ import annotations

from datetime import date
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.results.examples import CELL, comparison, record

from envmatrix.results.charts import distribution
from envmatrix.results.database import Database
from envmatrix.results.page_paths import PERFORMANCE, cell_page
from envmatrix.results.performance import Sides, effect_text, performance_table, sides_of
from envmatrix.results.report import Scope
from envmatrix.results.site import Site
from envmatrix.sessions.outcomes import Measurement

VALUES = st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=40)


def test_sides_are_the_values_of_pairs() -> None:
    assert sides_of(comparison()) == Sides((1.0, 1.01, 0.99), (1.03, 1.04, 1.02))


@pytest.mark.parametrize(
    "pairs", ["[]", "{}", "[1]", "[[1]]", "[[1, null]]", "[[1, NaN]]", "x", "[" * 9999, "3"]
)
def test_what_is_no_pairs_has_no_sides(pairs: str) -> None:
    assert sides_of(comparison(pairs=pairs)) == Sides()


def test_an_effect_has_its_interval_and_sign() -> None:
    assert effect_text(comparison()) == "+3.0 % ± 0.4 %"


@given(VALUES, VALUES)
def test_every_value_is_a_dot_in_the_picture(baseline: list[float], change: list[float]) -> None:
    picture = distribution({"baseline": baseline, "change": change}, "ms")
    dots = fromstring(picture).findall("circle")  # noqa: S314 -- of the function itself
    assert len(dots) == len(baseline) + len(change)
    for dot in dots:
        assert 64 <= float(dot.attrib["cx"]) <= 360
        assert 0 <= float(dot.attrib["cy"]) <= 102


def test_a_side_without_values_has_no_picture() -> None:
    assert distribution({"baseline": [], "change": []}, "ms") == ""
    assert distribution({"baseline": [1.0], "change": [float("inf")]}, "ms") == ""


def test_a_table_has_the_newest_comparison_on_each_device(database: Database) -> None:
    rows = {
        1: [comparison("axpy", "equal"), comparison("follow", "equal", device="L4")],
        2: [comparison("axpy", "slower")],
    }
    for number, compared in rows.items():
        database.add(record(number, verb="perf", comparisons=compared))
    stored = [record(number, verb="perf").run for number in rows]
    with database.reading() as connection:
        site = Site(connection, Scope(now=10.0, today=date(2026, 1, 1)))
        page = site.page(PERFORMANCE)
        run_page = site.page(cell_page("lib", CELL))
        index = site.page("index.html")
    assert page
    assert "slower" in page
    assert "H100" in page
    assert "not compared" not in page
    assert stored
    assert run_page
    assert "Compared with <code>bbbbbbbbbbbb</code>" in run_page
    assert "+3.0 % ± 0.4 %" in run_page
    assert index
    assert "performance.html" in index


def test_a_change_of_level_is_marked_in_the_chart_of_a_measurement(database: Database) -> None:
    for number in range(60):
        value = (1.0 if number < 30 else 1.1) + 0.001 * (number % 7)
        speed = Measurement("axpy", value, "ms", "lower")
        database.add(record(number + 1, verb="perf", measurements=[speed]))
    with database.reading() as connection:
        page = Site(connection, Scope(now=99.0, today=date(2026, 1, 1))).page(
            cell_page("lib", CELL)
        )
    assert page
    assert "r30 to r31: +10.0 %" in page
    assert page.count('class="mark"') == 1


def test_without_comparisons_there_is_no_page(database: Database) -> None:
    database.add(record(1))
    with database.reading() as connection:
        site = Site(connection, Scope(now=10.0, today=date(2026, 1, 1)))
        assert site.page(PERFORMANCE) is None
        assert PERFORMANCE not in site.paths()
    assert performance_table([], {}).rows == []
