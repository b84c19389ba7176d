"""Noise of measurements: models of families, and recorded traces, for simulated comparisons."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from statistics import median

from benchmarks.timing import ROOT

from envmatrix.comparison.model import Pair

# Returns so many values around 1, in the order of time.
Noise = Callable[[Random, int], Sequence[float]]


def _gaussian(random: Random, count: int) -> Sequence[float]:
    return [1 + random.gauss(0, 0.005) for _ in range(count)]


def _heavy_tails(random: Random, count: int) -> Sequence[float]:
    def student() -> float:
        chi = sum(random.gauss(0, 1) ** 2 for _ in range(3))
        return random.gauss(0, 1) / math.sqrt(chi / 3)

    return [1 + 0.003 * student() for _ in range(count)]


def _two_clocks(random: Random, count: int) -> Sequence[float]:
    slow = [1.015 if random.random() < 0.1 else 1.0 for _ in range(count)]
    return [value * (1 + random.gauss(0, 0.004)) for value in slow]


def _drift(random: Random, count: int) -> Sequence[float]:
    values, level = [], 0.0
    for _ in range(count):
        level = 0.95 * level + random.gauss(0, 0.003)
        values.append((1 + level) * (1 + random.gauss(0, 0.004)))
    return values


def _spikes(random: Random, count: int) -> Sequence[float]:
    spikes = [random.expovariate(10) if random.random() < 0.02 else 0.0 for _ in range(count)]
    return [(1 + spike) * (1 + random.gauss(0, 0.004)) for spike in spikes]


def _coarse_timer(random: Random, count: int) -> Sequence[float]:
    return [0.0025 * round((1 + random.gauss(0, 0.004)) / 0.0025) for _ in range(count)]


MODELS: Mapping[str, Noise] = {
    "Gaussian, 0.5 %": _gaussian,
    "heavy tails: Student's t of 3, 0.3 %": _heavy_tails,
    "two clocks: 10 % of runs 1.5 % slower; 0.4 %": _two_clocks,
    "drift: 0.95 of the last, 0.3 %; 0.4 %": _drift,
    "spikes: 2 % of runs 10 % slower on average; 0.4 %": _spikes,
    "coarse timer: steps of 0.25 %; 0.4 %": _coarse_timer,
}


def _resampled(series: Sequence[Sequence[float]], random: Random, count: int) -> Sequence[float]:
    """Return a stretch of recorded values from a random place on, around 1, in the order of time:
    of A B B A."""
    pairs = [pair[:2] if number % 2 == 0 else pair[1::-1] for number, pair in enumerate(series)]
    values = [value for pair in pairs for value in pair]
    start, middle = 4 * random.randrange(len(series) // 2), median(values)
    return [values[(start + index) % len(values)] / middle for index in range(count)]


def traces() -> Mapping[str, Noise]:
    """Return the noise of recorded runs in which nothing changed."""
    rows: dict[str, Noise] = {}
    for file in sorted((ROOT / "benchmarks").glob("[cg]pu/*.json")):
        trace = json.loads(file.read_text("utf-8"))
        for row in trace["series"]:
            # One kernel takes less time than the machine varies.
            if row["change"] == "none" and row["kernel"] != "tiny" and len(row["pairs"]) >= 100:
                name = f"{file.stem}: {row['kernel']}"
                rows[name] = partial(_resampled, row["pairs"])
    return rows


def pairs_of(noise: Noise, random: Random, effect: float, count: int) -> Sequence[Pair]:
    """Return pairs in the order A B B A, whose change takes `effect` more time."""
    values = noise(random, 2 * count)
    pairs = []
    for number in range(count):
        first, second = values[2 * number : 2 * number + 2]
        baseline, change = (second, first) if number % 2 else (first, second)
        pairs.append(Pair(baseline, change * (1 + effect)))
    return pairs
