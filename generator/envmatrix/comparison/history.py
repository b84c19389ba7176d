"""Changes in the history of a measurement: levels at which its values stayed. Pure.

A history is split where the rank-sum statistic of Mann and Whitney is largest, in all of it or in
windows, which show a level between two others (Kovács and others 2023: Seeded binary segmentation);
then both parts are split again, as long as a split is no coincidence among all that there could be.
Ranks make single bad runs harmless. Neighbouring values that resemble each other, as on a machine
whose load varies, make splits less surprising, so statistics are reduced by their correlation.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise
from statistics import NormalDist, median

from envmatrix.comparison.ranks import doubled_ranks
from envmatrix.records import dataclass

# The fewest values of a level: fewer are spikes.
_LEAST = 4
# Shorter windows cannot have a split that is no coincidence.
_SHORTEST = 32
# The probability of a change in a series that has none.
_ALARMS = 0.0004
_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a revision, positive. Samples of one `series` are comparable: they have the same
    device, driver, toolkit and environment."""

    revision: str
    value: float
    series: Hashable = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of level between two revisions that follow each other in the history: values grew by
    `effect`, 0.02 for 2 %, between `low` and `high`. `index` is that of the first sample of the new
    level."""

    index: int
    before: str
    after: str
    effect: float
    low: float
    high: float


def changes(samples: Sequence[Sample], margin: float = 0.005) -> Sequence[Change]:
    """Return the changes in a history, the oldest first. One of the series is none, nor is one
    within the margin."""
    return [
        change
        for stretch in _stretches(samples)
        for change in _changes(samples, stretch)
        if abs(change.effect) > margin
    ]


def _stretches(samples: Sequence[Sample]) -> Iterator[Sequence[int]]:
    """Yield the indices of usable samples of each series, in the order of the first of them."""
    by_series: dict[Hashable, list[int]] = {}
    for index, sample in enumerate(samples):
        if math.isfinite(sample.value) and sample.value > 0:
            by_series.setdefault(sample.series, []).append(index)
    yield from by_series.values()


def _changes(samples: Sequence[Sample], stretch: Sequence[int]) -> Iterator[Change]:
    values = [math.log(samples[index].value) for index in stretch]
    bounds = _confirmed(values, _splits(values, 0, len(values)))
    for before, split, after in zip([0, *bounds], bounds, [*bounds[1:], len(values)], strict=False):
        low, centre, high = map(math.expm1, _shift(values[before:split], values[split:after]))
        first, second = stretch[split - 1], stretch[split]
        revisions = samples[first].revision, samples[second].revision
        yield Change(second, *revisions, centre, low, high)


def _splits(values: Sequence[float], start: int, end: int) -> list[int]:
    """Return the places between `start` and `end` where the level changes, in order."""
    windows = [*_windows(start, end)]
    count = sum(last - first for first, last in windows)
    scores = (_best(values[first:last], first) for first, last in windows)
    score, place = max(scores, default=(0.0, 0))
    if score < _least_score(count):
        return []
    return [*_splits(values, start, place), place, *_splits(values, place, end)]


def _windows(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield all of a stretch, and windows of half its length and so on, which overlap."""
    length = end - start
    yield start, end
    while (length := length // 2) >= _SHORTEST:
        for first in range(start, end - length + 1, max(1, length // 4)):
            yield first, first + length


def _least_score(count: int) -> float:
    """Return the score of a split that is no coincidence among so many, upwards or downwards."""
    return NormalDist().inv_cdf(1 - _ALARMS / (2 * max(1, count)))


def _confirmed(values: Sequence[float], splits: Sequence[int]) -> list[int]:
    """Return the splits that are ones between their neighbours too, where they fit best there."""
    bounds = [0, *splits, len(values)]
    places = []
    for before, after in zip(bounds, bounds[2:], strict=False):
        score, place = _best(values[before:after], before)
        if score >= _least_score(after - before):
            places.append(place)
    return sorted(set(places))


def _best(values: Sequence[float], start: int) -> tuple[float, int]:
    """Return the score of the most surprising split, and its place if values begin at `start`."""
    count = len(values)
    if count < 2 * _LEAST:
        return 0.0, start
    ranks = _ranks(values)
    tie_factor = _tie_factor(ranks)
    total, best, place = sum(ranks[: _LEAST - 1]), 0.0, 0
    for split in range(_LEAST, count - _LEAST + 1):
        total += ranks[split - 1]
        expected = split * (count + 1) / 2
        variance = split * (count - split) * (count + 1) / 12 * tie_factor
        score = abs(total - expected) / math.sqrt(variance) if variance > 0 else 0.0
        if score > best:
            best, place = score, split
    return best * _independence(values[:place], values[place:]), start + place


def _ranks(values: Sequence[float]) -> Sequence[float]:
    return [rank / 2 for rank in doubled_ranks(values)]


def _tie_factor(ranks: Sequence[float]) -> float:
    """Return by how much ties reduce the variance of a sum of ranks."""
    count = len(ranks)
    sizes = [ranks.count(rank) for rank in set(ranks)]
    return 1 - sum(size**3 - size for size in sizes) / (count**3 - count)


def _independence(*parts: Sequence[float]) -> float:
    """Return the factor for statistics of values whose neighbours resemble each other: 1 if they do
    not. With a correlation r of neighbours, means scatter by sqrt((1 + r) / (1 - r)) more."""
    products, squares, count = 0.0, 0.0, 0
    for part in parts:
        ranks = _ranks(part)
        middle = (len(part) + 1) / 2
        deviations = [rank - middle for rank in ranks]
        products += sum(a * b for a, b in pairwise(deviations))
        squares += sum(value * value for value in deviations)
        count += len(part)
    # An estimate from few values is too low by about 1/n for each level.
    correlation = (products / squares if squares else 0.0) + len(parts) / count
    correlation = min(0.95, max(0.0, correlation))
    return math.sqrt((1 - correlation) / (1 + correlation))


def _shift(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Return the Hodges-Lehmann estimate of a change of level, between the ends of its interval."""
    differences = sorted(b - a for a in before for b in after)
    pairs = len(differences)
    scatter = math.sqrt(pairs * (len(before) + len(after) + 1) / 12)
    below = pairs / 2 - NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2) * scatter
    index = max(0, math.floor(below))
    return differences[index], median(differences), differences[pairs - 1 - index]
