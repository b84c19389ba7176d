"""Charts of values over runs, and their scales."""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.results.charts import Point, chart, in_unit_of_duration, scale_of

VALUES = st.lists(st.floats(-1e14, 1e14), min_size=2, max_size=30)


def parsed(values: list[float], title: str = "time", unit: str = "s") -> Element:
    points = [Point(1_790_000_000.0 + 3600 * index, value) for index, value in enumerate(values)]
    return fromstring(chart(points, title, unit))  # noqa: S314 -- of the function itself


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ([60.0, 72.0], (60.0, 65.0, 70.0, 75.0)),
        ([0.0, 1.0], (0.0, 0.25, 0.5, 0.75, 1.0)),
        ([80.0, 83.9], (80.0, 81.0, 82.0, 83.0, 84.0)),
        ([5.0, 5.0], (0.0, 2.0, 4.0, 6.0)),
        ([0.0, 0.0], (0.0, 0.25, 0.5, 0.75, 1.0)),
    ],
)
def test_a_scale_has_round_numbers(values: list[float], marks: tuple[float, ...]) -> None:
    assert scale_of(values, "s").marks == marks


@given(VALUES)
def test_all_values_are_within_their_scale_and_the_picture(values: list[float]) -> None:
    marks = scale_of(values, "").marks
    slack = 1e-9 * max(map(abs, values)) + 1e-90
    assert marks[0] - slack <= min(values) <= max(values) <= marks[-1] + slack
    assert 2 <= len(marks) <= 7
    circles = parsed(values).findall(".//circle")
    assert len(circles) == len(values)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= 360
        assert 0 <= float(circle.attrib["cy"]) <= 132


def test_a_chart_names_its_unit_its_ends_and_its_values() -> None:
    figure = parsed([60.0, 62.0, 72.0])
    assert figure.findtext("figcaption") == "time, s"
    svg = figure.find("svg")
    assert svg is not None
    assert svg.attrib["aria-label"] == "time, s: 60 to 72 in 3 runs"
    texts = [text.text for text in svg.iter("text")]
    assert texts == ["60", "65", "70", "75", "2026-09-21", "2026-09-21"]
    assert [title.text for title in svg.iter("title")][1] == "2026-09-21 15:13: 62 s"


def test_marks_are_lines_before_their_points() -> None:
    points = [Point(1_790_000_000.0 + index, float(index)) for index in range(3)]
    figure = fromstring(chart(points, "time", "s", {1: "a to b: <+2 %>"}))  # noqa: S314 -- as above
    (mark,) = (line for line in figure.iter("line") if line.get("class") == "mark")
    assert mark.findtext("title") == "a to b: <+2 %>"
    first, second = (float(circle.attrib["cx"]) for circle in [*figure.iter("circle")][:2])
    assert first < float(mark.attrib["x1"]) < second


def test_names_in_a_chart_are_text() -> None:
    figure = parsed([1.0, 2.0], title='<script>"', unit="<b>")
    assert figure.findtext("figcaption") == '<script>", <b>'


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf], [1.0, math.nan], [1.0, 1e300]])
def test_what_has_no_scale_has_no_chart(values: list[float]) -> None:
    assert chart([Point(0.0, value) for value in values], "time", "s") == ""


@pytest.mark.parametrize(
    ("seconds", "unit", "value"),
    [(90.0, "s", 90.0), (120.0, "min", 2.0), (7200.0, "h", 2.0), (0.0, "s", 0.0)],
)
def test_durations_have_the_unit_that_the_longest_reaches(
    seconds: float, unit: str, value: float
) -> None:
    assert in_unit_of_duration([Point(0.0, seconds)]) == (unit, [Point(0.0, value)])
