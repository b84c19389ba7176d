"""Pairs and series that say nothing about a change, and why. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from envmatrix.comparison.model import Pair
from envmatrix.records import dataclass
from envmatrix.text import number_of

# Clocks within this share of each other, and of what is usual, are the same.
_SAME_CLOCK = 0.05
# No change is larger than a thousandfold, as a logarithm.
_LARGEST_RATIO = math.log(1000)
# As many equal pairs are no coincidence.
_ENOUGH = 8
# The part of pairs that may be set aside.
_MOST_ASIDE = 0.5


@dataclass(frozen=True, slots=True)
class Valid:
    """The pairs that count, and notes about those that do not."""

    pairs: Sequence[Pair]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """The reason why a series has no verdict."""

    reason: str


def valid_pairs(pairs: Sequence[Pair]) -> Valid | Fault:
    """Return the pairs that count, or why none do. Pairs with another clock than usual on either
    side are set aside, if they are few."""
    if not pairs:
        return Fault("nothing was measured")
    for number, pair in enumerate(pairs, 1):
        for value in (pair.baseline, pair.change):
            if reason := _value_fault(value):
                return Fault(f"{reason} in pair {number}")
        if abs(pair.log_ratio) > _LARGEST_RATIO:
            return Fault(f"the values differ too much in pair {number}: are they of one unit?")
    values = [value for pair in pairs for value in (pair.baseline, pair.change)]
    if len(pairs) >= _ENOUGH and len(set(values)) == 1:
        return Fault("all values are equal: the timer is too coarse, or nothing is measured")
    return _with_usual_clocks(pairs)


def _value_fault(value: float) -> str:
    if math.isnan(value):
        return "the value is no number"
    if math.isinf(value):
        return "the value is infinite"
    if value == 0:
        return "the time is zero"
    return "the time is negative, as after a clock was set back" if value < 0 else ""


def _with_usual_clocks(pairs: Sequence[Pair]) -> Valid | Fault:
    clocks = [clock for pair in pairs for clock in pair.clocks if clock > 0]
    if not clocks:
        return Valid(pairs)
    usual = max(clocks) if _are_split(clocks) else median(clocks)
    kept_pairs = [
        pair
        for pair in pairs
        if all(clock <= 0 or abs(clock / usual - 1) <= _SAME_CLOCK for clock in pair.clocks)
    ]
    aside = len(pairs) - len(kept_pairs)
    if not aside:
        return Valid(pairs)
    text = f"clocks were not {usual:.0f} MHz in {number_of(aside, 'pair')}"
    if aside > _MOST_ASIDE * len(pairs):
        return Fault(f"{text} of {len(pairs)}")
    return Valid(kept_pairs, [f"{text}, which do not count"])


def _are_split(clocks: Sequence[float]) -> bool:
    """Return whether the median is between two clocks, so that it is neither."""
    middle = median(clocks)
    return all(abs(clock / middle - 1) > _SAME_CLOCK for clock in clocks)
