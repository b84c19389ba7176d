"""Plots of the documentation: what verdicts about pairs find, by simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from random import Random

from benchmarks.noise import MODELS, pairs_of
from website.svg import Point, curve, document, line, text

from envmatrix.comparison.family import decide
from envmatrix.comparison.model import Limits, Pair
from envmatrix.comparison.signed_rank import estimate

_NOISE = MODELS["Gaussian, 0.5 %"]
_EFFECTS = (0.0, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02)
_COUNTS = {8: "#9a5b00", 16: "#0b6e75", 32: "#3d46a8"}
_COMPARISONS = 120
_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 24, 44, 46


def plots() -> Mapping[str, str]:
    """Return the text of each plot, by its file name."""
    return {"power.svg": power(), "intervals.svg": intervals()}


@cache
def power() -> str:
    """Draw how many slowdowns are called slower, by their size, for several numbers of pairs."""
    parts = _axes("size of the slowdown", "called slower", 0.02, [0, 0.005, 0.01, 0.015, 0.02])
    for count, colour in _COUNTS.items():
        limits = Limits(pairs=count)
        shares = []
        for effect in _EFFECTS:
            random = Random(f"{count} {effect}")  # noqa: S311 -- the same plot in every run
            called = [
                decide({"": pairs_of(_NOISE, random, effect, count)}, limits).verdicts[""].state
                for _ in range(_COMPARISONS)
            ]
            shares.append(called.count("slower") / _COMPARISONS)
        points = [_place(x / 0.02, y) for x, y in zip(_EFFECTS, shares, strict=True)]
        parts.append(curve(points, colour))
        parts.append(text(Point(*_legend(count)), f"{count} pairs", size=12, weight="600"))
        parts.append(
            curve(
                [
                    Point(_legend(count)[0] - 62, _legend(count)[1] - 4),
                    Point(_legend(count)[0] - 36, _legend(count)[1] - 4),
                ],
                colour,
            )
        )
    title = "How many slowdowns are found, by their size and the number of pairs"
    return document(_WIDTH, _HEIGHT, title, parts)


def _legend(count: int) -> tuple[float, float]:
    return _WIDTH - 80, _HEIGHT - _BOTTOM - 16 - 20 * [*_COUNTS].index(count)


@cache
def intervals() -> str:
    """Draw how the interval of one slowdown of 1 % becomes narrower with every pair."""
    random = Random(4)  # noqa: S311 -- the same plot in every run
    pairs = pairs_of(_NOISE, random, 0.01, 32)
    parts = _axes("pairs", "change of the time", 32, [0, 8, 16, 24, 32], _percents())
    rows = {count: _interval(pairs[:count]) for count in range(4, 33)}
    for name, colour in (("low", "#0b6e75"), ("centre", "#3d46a8"), ("high", "#0b6e75")):
        points = [_place(count / 32, (row[name] + 0.01) / 0.04) for count, row in rows.items()]
        parts.append(curve(points, colour))
    for value in (-0.005, 0.005):
        y = _place(0, (value + 0.01) / 0.04).y
        parts.append(line(Point(_LEFT, y), Point(_WIDTH - _RIGHT, y), dashed=True, arrow=False))
    parts.append(text(Point(_WIDTH - 90, _place(0, 0.125).y + 16), "margin ± 0.5 %", size=11))
    title = "The interval of a slowdown of 1 %, pair by pair"
    return document(_WIDTH, _HEIGHT, title, parts)


def _interval(pairs: Sequence[Pair]) -> Mapping[str, float]:
    row = estimate([pair.log_ratio for pair in pairs], 0.01)
    return {name: max(-0.01, min(0.03, getattr(row, name))) for name in ("low", "centre", "high")}


def _percents() -> Mapping[float, str]:
    return {share: f"{100 * (0.04 * share - 0.01):+.0f} %" for share in (0, 0.25, 0.5, 0.75, 1)}


def _axes(
    across: str,
    upwards: str,
    most: float,
    marks: Sequence[float],
    levels: Mapping[float, str] | None = None,
) -> list[str]:
    """Return the frame of a plot with its marks; levels are texts by shares of the height."""
    levels = levels or {share: f"{100 * share:.0f} %" for share in (0, 0.25, 0.5, 0.75, 1)}
    parts = [
        line(_place(0, 0), _place(1, 0), arrow=False),
        line(_place(0, 0), _place(0, 1), arrow=False),
        text(Point(_WIDTH / 2, _HEIGHT - 8), across, size=12),
        text(Point(_LEFT + 34, 24), upwards, size=12),
    ]
    for mark in marks:
        words = f"{100 * mark:g} %" if most < 1 else f"{mark:g}"
        parts.append(text(Point(_place(mark / most, 0).x, _HEIGHT - _BOTTOM + 16), words, size=11))
    for share, words in levels.items():
        parts.append(text(Point(_LEFT - 28, _place(0, share).y + 4), words, size=11))
    return parts


def _place(across: float, upwards: float) -> Point:
    return Point(
        round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
        round(_HEIGHT - _BOTTOM - upwards * (_HEIGHT - _TOP - _BOTTOM), 1),
    )
