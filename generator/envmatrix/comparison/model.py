"""Pairs of measurements and verdicts about them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Literal, TypeAlias

from envmatrix.records import dataclass

# `undecided` needs more pairs, and `invalid` has a fault.
VerdictState: TypeAlias = Literal["slower", "faster", "equal", "undecided", "invalid"]


def percent(share: float) -> str:
    """Return a share as a text: `2.8 %`, and with two digits if it is small, `0.03 %`."""
    digits = 1 if abs(share) >= 0.001 else 2
    return f"{100 * share:.{digits}f} %"


@dataclass(frozen=True, slots=True)
class Pair:
    """The values of the baseline and of the change, of which less is better, in any unit. `clocks`
    are those of the GPU at that time, in MHz, for both; 0 if unknown."""

    baseline: float
    change: float
    clocks: tuple[float, float] = (0.0, 0.0)

    @property
    def log_ratio(self) -> float:
        """The natural logarithm of change to baseline: 0.03 for 3 % slower."""
        return math.log(self.change) - math.log(self.baseline)


@dataclass(frozen=True, slots=True)
class Limits:
    """What verdicts depend on: a change within `margin` is none (0.005 for 0.5 %), no more than
    `pairs` are measured, and of changes without any slower benchmark the share `alarms` has one by
    chance."""

    margin: float = 0.005
    pairs: int = 32
    alarms: float = 0.01


@dataclass(frozen=True, slots=True)
class Verdict:
    """What pairs say. The change takes `effect` more time, 0.03 for 3 %, between `low` and `high`.
    If it is undecided, `more` pairs may decide it."""

    state: VerdictState
    effect: float = 0.0
    low: float = 0.0
    high: float = 0.0
    pairs: int = 0
    more: int = 0
    notes: Sequence[str] = field(default=())

    @property
    def half_width(self) -> float:
        return max(self.high - self.effect, self.effect - self.low)

    @property
    def bound(self) -> float:
        """The change that it is within."""
        return max(abs(self.low), abs(self.high))

    def __str__(self) -> str:
        match self.state:
            case "slower" | "faster":
                size = f"{percent(abs(self.effect))} ± {percent(self.half_width)}"
                text = f"{self.state} by {size}"
            case "equal":
                text = f"equal within {percent(self.bound)}"
            case "undecided":
                interval = f"{100 * self.low:+.1f} % to {100 * self.high:+.1f} %"
                text = f"undecided ({interval}): about {self.more} more pairs"
            case "invalid":
                text = "invalid"
        return "; ".join([text, *self.notes])
