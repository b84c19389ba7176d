"""The signed-rank test of Wilcoxon: exact, for values that are symmetric if nothing changed. Pure.

Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, chapter 3. Values that are 0 have a
rank, but no sign (Pratt 1959); those of equal size share the rank in their middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, combinations_with_replacement
from statistics import median

from envmatrix.comparison.ranks import doubled_ranks
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """The Hodges-Lehmann estimate of the centre of values, and an interval around it."""

    centre: float
    low: float
    high: float


def p_value(values: Sequence[float]) -> float:
    """Return the probability of as large a sum of positive ranks, or a larger one, if the values
    are symmetric around 0; 1 for no values."""
    ranks = doubled_ranks([abs(value) for value in values])
    total = sum(rank for rank, value in zip(ranks, values, strict=True) if value > 0)
    signed = (rank for rank, value in zip(ranks, values, strict=True) if value)
    return _upper(tuple(sorted(signed)))[total]


@lru_cache(maxsize=4096)
def _upper(ranks: tuple[int, ...]) -> Sequence[float]:
    """Return the probability of each sum of ranks or a larger one, if each rank counts or not with
    equal probability."""
    ways = [1] + [0] * sum(ranks)
    for rank in ranks:
        for sum_of_ranks in range(len(ways) - 1, rank - 1, -1):
            ways[sum_of_ranks] += ways[sum_of_ranks - rank]
    at_least = [*accumulate(reversed(ways))][::-1]
    return [count / 2 ** len(ranks) for count in at_least]


def estimate(values: Sequence[float], alpha: float) -> Estimate:
    """Return the centre of values, and the interval that leaves it out with a probability of at
    most `alpha`, or the widest that so few values have."""
    averages = sorted((a + b) / 2 for a, b in combinations_with_replacement(values, 2))
    tail = _tail(len(values), alpha / 2)
    return Estimate(median(averages), averages[tail], averages[-1 - tail])


@lru_cache(maxsize=1024)
def _tail(count: int, alpha: float) -> int:
    """Return how many of the averages are below an interval: the largest sum of ranks that no more
    than `alpha` of all signs exceed downwards; 0 if there are too few values."""
    upper = _upper(tuple(range(2, 2 * count + 1, 2)))  # of doubled ranks
    total = count * (count + 1)
    sums = range(total // 2)
    # By symmetry, a sum is at most k as often as it is at least the total less k.
    return sum(1 for least in sums if upper[total - 2 * least] <= alpha) if count else 0
