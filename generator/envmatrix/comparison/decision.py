"""The verdict about one benchmark, by looking at its pairs several times. Pure.

Each look has a part of the probability of a false alarm, so all of them together have no more than
all of it, wherever measuring ends. The first has much: eight pairs that all are slower have a
probability of 1/256, and a large slowdown should not need more of them. The last has twice as much
as those before, for small ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from envmatrix.comparison.model import Limits, Pair, Verdict
from envmatrix.comparison.signed_rank import estimate, p_value
from envmatrix.records import dataclass

# The numbers of pairs at which verdicts are looked for, with their parts of the false alarms.
_FIRST, _STEP = 8, 4
_FIRST_PART = 0.4
# The probability that an interval does not have the true effect.
_OUTSIDE = 0.01


@dataclass(frozen=True, slots=True)
class Evidence:
    """What pairs say about the change being slower, or faster: the least probability of a false
    alarm at which it would be called so."""

    slower: float = 1.0
    faster: float = 1.0


def looks(most: int) -> Sequence[tuple[int, float]]:
    """Return the numbers of pairs at which to look, and the part that each has of false alarms."""
    first, *others = [*range(_FIRST, most + 1, _STEP)] or [most]
    if not others:
        return [(first, 1.0)]
    *middle, last = others
    part = (1 - _FIRST_PART) / (len(middle) + 2)
    return [(first, _FIRST_PART), *((count, part) for count in middle), (last, 2 * part)]


def evidence(pairs: Sequence[Pair], limits: Limits) -> Evidence:
    """Return the evidence of all looks so far."""
    ratios = [pair.log_ratio for pair in pairs]
    opposite = [-ratio for ratio in ratios]
    done = [(count, part) for count, part in looks(limits.pairs) if count <= len(ratios)]

    def least(values: Sequence[float]) -> float:
        return min((p_value(values[:count]) / part for count, part in done), default=1.0)

    return Evidence(min(1.0, least(ratios)), min(1.0, least(opposite)))


def verdict(pairs: Sequence[Pair], limits: Limits, *, is_slower: bool, is_faster: bool) -> Verdict:
    """Return the verdict about valid pairs, of which the evidence decides whether the change is
    slower or faster."""
    ratios = [pair.log_ratio for pair in pairs]
    interval = estimate(ratios, _OUTSIDE)
    centre, low, high = (
        math.expm1(value) for value in (interval.centre, interval.low, interval.high)
    )
    result = Verdict("undecided", centre, low, high, len(pairs))
    if len(pairs) >= looks(limits.pairs)[0][0]:
        if result.bound <= limits.margin:
            return replace(result, state="equal")
        if is_slower and centre > limits.margin:
            return replace(result, state="slower")
        if is_faster and centre < -limits.margin:
            return replace(result, state="faster")
    return replace(result, more=_additional(result, limits))


def _additional(result: Verdict, limits: Limits) -> int:
    """Return about how many more pairs decide: the width of an interval falls with the root of
    their number, and has to fall to the margin, or to the effect, from both sides."""
    width = max(abs(abs(result.effect) - limits.margin), limits.margin / 2)
    needed = result.pairs * (result.half_width / width) ** 2
    return max(_STEP, math.ceil(needed) - result.pairs)
