"""Charts of values over runs, as SVG with a scale. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

from markupsafe import Markup

from envmatrix.records import dataclass

# The size of a chart and the margins of its plot, in units of its view box.
_WIDTH, _HEIGHT = 360, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 20
# The height of a row of a distribution, the width of the names of rows, and the margin beside.
_ROW, _NAMES, _MARGIN = 36, 64, 20
# The most distances between the lines of a scale.
_DISTANCES = 4
# The least distance that a scale shows.
_LEAST = 1e-100
_STEPS = (1, 2, 2.5, 5, 10)
_FRAME = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">')
# Units of durations with their length in seconds; a scale has the largest that its values reach.
_DURATIONS = (("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a run that started at a moment, in seconds since 1970."""

    started: float
    value: float
    state: str = "passed"


@dataclass(frozen=True, slots=True)
class Scale:
    """The marks of a scale, at the same distances, in a unit."""

    unit: str
    marks: tuple[float, ...]


def scale_of(values: Sequence[float], unit: str) -> Scale:
    """Return a scale of round numbers that includes all values."""
    low, high = min(values), max(values)
    if math.isclose(low, high, abs_tol=_LEAST):
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < _LEAST:
        low, high = 0.0, 1.0
    step = _round_step((high - low) / _DISTANCES)
    first, last = math.floor(low / step), math.ceil(high / step)
    return Scale(unit, tuple(number * step for number in range(first, last + 1)))


def _round_step(least: float) -> float:
    """Return the smallest round number that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((step * power for step in _STEPS if step * power >= least), 10 * power)


def in_unit_of_duration(points: Sequence[Point]) -> tuple[str, Sequence[Point]]:
    """Return the unit for durations in seconds, and the points in that unit."""
    longest = max(point.value for point in points)
    unit, length = next((row for row in _DURATIONS if longest >= 2 * row[1]), _DURATIONS[-1])
    scaled = [Point(point.started, point.value / length, point.state) for point in points]
    return unit, scaled


def chart(
    points: Sequence[Point], title: str, unit: str, marks: Mapping[int, str] | None = None
) -> Markup:
    """Return a line through points, oldest first, with scales, and with the texts of `marks` before
    the points of these indices; nothing for fewer than two, or for numbers that no scale can
    have."""
    values = [point.value for point in points]
    if len(values) < 2 or not all(abs(value) < 1e15 for value in values):
        return Markup()
    scale = scale_of(values, unit)
    head = f"{title}, {unit}" if unit else title
    label = f"{head}: {number(values[0])} to {number(values[-1])} in {len(values)} runs"
    parts = [
        _FRAME.format(_WIDTH, _HEIGHT, label),
        *_scale(scale),
        *_dates(points),
        *_marks(marks or {}, len(points)),
        *_line(points, scale),
        Markup("</svg>"),
    ]
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(
        head, Markup("").join(parts)
    )


def distribution(rows: Mapping[str, Sequence[float]], unit: str) -> Markup:
    """Return the values of each of some named rows as dots on one scale, with their median as a
    line; nothing if a row has none, or for numbers that no scale can have."""
    values = [value for row in rows.values() for value in row]
    if not all(rows.values()) or not values or not all(abs(value) < 1e15 for value in values):
        return Markup()
    low, high = min(values), max(values)
    scale = scale_of([low, high], unit) if low < high else Scale(unit, (low - 1, low, low + 1))
    height = _TOP + _ROW * len(rows) + _BOTTOM
    medians = ", ".join(f"{name} {number(median(row))} {unit}" for name, row in rows.items())
    parts = [_FRAME.format(_WIDTH, height, f"medians: {medians}"), *_columns(scale, height)]
    for index, (name, row) in enumerate(rows.items()):
        parts += _dots(name, row, scale, _TOP + _ROW * index)
    return Markup("").join([*parts, Markup("</svg>")])


def _columns(scale: Scale, height: int) -> Iterator[Markup]:
    for mark in scale.marks:
        x = _x(mark, scale)
        yield Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, _TOP, height - _BOTTOM)
        yield Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            x, height - 6, number(mark)
        )


def _dots(name: str, row: Sequence[float], scale: Scale, top: int) -> Iterator[Markup]:
    yield Markup('<text class="y" x="{}" y="{}">{}</text>').format(
        _NAMES - 8, top + _ROW // 2 + 4, name
    )
    # From above to below in the order of time, so that a drift is visible.
    distance = (_ROW - 10) / max(1, len(row) - 1)
    for index, value in enumerate(row):
        yield Markup('<circle cx="{}" cy="{}" r="2"><title>{}</title></circle>').format(
            _x(value, scale), round(top + 5 + distance * index, 1), number(value)
        )
    middle = _x(median(row), scale)
    yield Markup('<line class="median" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
        middle, middle, top + 2, top + _ROW - 2
    )


def _x(value: float, scale: Scale) -> float:
    low, high = scale.marks[0], scale.marks[-1]
    return round(_NAMES + (value - low) / (high - low) * (_WIDTH - _NAMES - _MARGIN), 1)


def number(value: float) -> str:
    """Return a number with at most four significant digits."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _scale(scale: Scale) -> Iterator[Markup]:
    for mark in scale.marks:
        y = _y(mark, scale)
        yield Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, _WIDTH - _RIGHT, y, y)
        yield Markup('<text class="y" x="{}" y="{}">{}</text>').format(
            _LEFT - 5, y + 3.5, number(mark)
        )


def _dates(points: Sequence[Point]) -> Iterator[Markup]:
    ends = ((points[0], _LEFT, "start"), (points[-1], _WIDTH - _RIGHT, "end"))
    for point, x, anchor in ends:
        yield Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
            x, _HEIGHT - 4, anchor, f"{datetime.fromtimestamp(point.started, UTC):%Y-%m-%d}"
        )


def _marks(marks: Mapping[int, str], count: int) -> Iterator[Markup]:
    for index, text in marks.items():
        x = round(_LEFT + (_WIDTH - _LEFT - _RIGHT) / (count - 1) * (index - 0.5), 1)
        yield Markup(
            '<line class="mark" x1="{}" x2="{}" y1="{}" y2="{}"><title>{}</title></line>'
        ).format(x, x, _TOP, _HEIGHT - _BOTTOM, text)


def _line(points: Sequence[Point], scale: Scale) -> Iterator[Markup]:
    distance = (_WIDTH - _LEFT - _RIGHT) / (len(points) - 1)
    places = [
        (round(_LEFT + distance * index, 1), _y(point.value, scale))
        for index, point in enumerate(points)
    ]
    yield Markup('<polyline points="{}"/>').format(" ".join(f"{x},{y}" for x, y in places))
    for (x, y), point in zip(places, points, strict=True):
        yield Markup(
            '<circle class="{}" cx="{}" cy="{}" r="2.5"><title>{}</title></circle>'
        ).format(point.state, x, y, _point_text(point, scale.unit))


def _point_text(point: Point, unit: str) -> str:
    moment = f"{datetime.fromtimestamp(point.started, UTC):%Y-%m-%d %H:%M}"
    return f"{moment}: {number(point.value)} {unit}".rstrip()


def _y(value: float, scale: Scale) -> float:
    low, high = scale.marks[0], scale.marks[-1]
    share = (value - low) / (high - low)
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)
