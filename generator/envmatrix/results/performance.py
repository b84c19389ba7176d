"""Comparisons of benchmarks as pages show them: by benchmark and device. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from envmatrix.comparison.model import percent
from envmatrix.records import dataclass
from envmatrix.results.queries import StoredRun
from envmatrix.sessions.outcomes import Comparison

# The most pairs that a chart has.
_MOST_PAIRS = 1_000


@dataclass(frozen=True, slots=True)
class Sides:
    """The values of pairs: of the baseline, and of the change."""

    baseline: Sequence[float] = ()
    change: Sequence[float] = ()


def sides_of(comparison: Comparison) -> Sides:
    """Return the values of a comparison; none if another program wrote what is no pairs."""
    try:
        rows = json.loads(comparison.pairs)
        pairs = [(float(first), float(second)) for first, second in rows[:_MOST_PAIRS]]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return Sides()
    if not all(map(math.isfinite, (value for pair in pairs for value in pair))):
        return Sides()
    return Sides(*zip(*pairs, strict=True)) if pairs else Sides()


def effect_text(comparison: Comparison) -> str:
    """Return the effect with its interval: `+3.1 % ± 0.4 %`; nothing if there is none."""
    if comparison.state in ("invalid", "undecided") and not comparison.half_width:
        return ""
    sign = "+" if comparison.effect >= 0 else ""
    return f"{sign}{percent(comparison.effect)} ± {percent(comparison.half_width)}"


@dataclass(frozen=True, slots=True)
class PerformanceRow:
    """A benchmark of a library, with its newest comparison and its run on each device."""

    library: str
    benchmark: str
    by_device: Mapping[str, tuple[StoredRun, Comparison]]


@dataclass(frozen=True, slots=True)
class PerformanceTable:
    devices: Sequence[str]
    rows: Sequence[PerformanceRow]


def performance_table(
    runs: Iterable[StoredRun], comparisons: Mapping[str, Sequence[Comparison]]
) -> PerformanceTable:
    """Return the newest comparison of each benchmark on each device; comparisons are by run."""
    newest: dict[tuple[str, str], dict[str, tuple[StoredRun, Comparison]]] = {}
    for stored in sorted(runs, key=lambda stored: (stored.run.started, stored.run.id)):
        for row in comparisons.get(stored.run.id, ()):
            newest.setdefault((stored.run.library, row.name), {})[row.device] = stored, row
    devices = sorted({device for by_device in newest.values() for device in by_device})
    return PerformanceTable(
        devices, [PerformanceRow(*key, by_device) for key, by_device in sorted(newest.items())]
    )
