"""All benchmarks of a change together: with hundreds, some look slower by chance. Pure.

The procedure of Benjamini and Hochberg (1995) limits the share of false alarms among all alarms,
and without any slower benchmark also the probability of one. A benchmark alone needs the evidence
of one in so many; if all become slower, each needs no more than if it was alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from envmatrix.comparison.decision import evidence, verdict
from envmatrix.comparison.faults import Fault, Valid, valid_pairs
from envmatrix.comparison.model import Limits, Pair, Verdict
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdicts about benchmarks by their names."""

    verdicts: Mapping[str, Verdict]

    @property
    def open(self) -> Sequence[str]:
        """The benchmarks that more pairs may decide."""
        return [name for name, verdict in self.verdicts.items() if verdict.state == "undecided"]


def decide(series: Mapping[str, Sequence[Pair]], limits: Limits) -> Decision:
    """Return the verdicts about all benchmarks of a change, by the pairs of each so far."""
    checked = {name: valid_pairs(pairs) for name, pairs in series.items()}
    valid = {name: row for name, row in checked.items() if isinstance(row, Valid)}
    of_pairs = {name: evidence(row.pairs, limits) for name, row in valid.items()}
    slower = _alarms({name: row.slower for name, row in of_pairs.items()}, limits.alarms)
    faster = _alarms({name: row.faster for name, row in of_pairs.items()}, limits.alarms)

    def verdict_of(name: str, row: Valid | Fault) -> Verdict:
        if isinstance(row, Fault):
            return Verdict("invalid", pairs=len(series[name]), notes=[row.reason])
        result = verdict(row.pairs, limits, is_slower=name in slower, is_faster=name in faster)
        return replace(result, notes=row.notes)

    return Decision({name: verdict_of(name, row) for name, row in checked.items()})


def _alarms(probabilities: Mapping[str, float], alarms: float) -> frozenset[str]:
    """Return the names whose probability of a false alarm is small enough among all of them."""
    order = sorted(probabilities, key=probabilities.__getitem__)
    count = max(
        (
            rank
            for rank, name in enumerate(order, 1)
            if probabilities[name] <= alarms * rank / len(order)
        ),
        default=0,
    )
    return frozenset(order[:count])
