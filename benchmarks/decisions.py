"""How well do verdicts about interleaved pairs find slowdowns, and how often are they wrong?

Comparisons are simulated with noise of six models, and with that of recorded traces, which are
resampled (benchmarks/gpu: an H200; benchmarks/cpu: processors). Of each:
  +3 %, +1 %   how many of the slowdowns are called slower, alone, within 32 and 16 pairs
  none         how often an unchanged benchmark is called slower or faster
The same samples go to others:
  nvbench-compare-robust, nvbench-compare-legacy  of `pip install 'cuda-bench[compare]'`, where they
               are on $PATH
  fixed        the medians differ by more than 5 %
  Mann-Whitney on one run of each side, as if the pairs were none, p < 0.01 (needs SciPy)
Then pull requests of 500 unchanged benchmarks, all decided together: how many have a false alarm?
Targets: +3 % in 99 of 100, with a median of 8 pairs; +1 % in 90 of 100; no more than 1 % of pull
requests with a false alarm; 10,000 decisions in 60 s of CPU time; ahead of the others.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import nvbench, timing
from benchmarks.noise import MODELS, Noise, pairs_of, traces

from envmatrix.comparison.family import decide
from envmatrix.comparison.model import Limits, Pair, VerdictState

# The sizes of slowdowns, with the most pairs to find them.
_EFFECTS = {0.03: 32, 0.01: 16, 0.0: 16}
_BENCHMARKS = 500
_HUNDREDTH = 0.01

Samples = Sequence[Sequence[Pair]]
# Says of each comparison whether it is called slower or faster.
Method = Callable[[Samples], Sequence[bool]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=500, metavar="N", help="of each kind")
    parser.add_argument("--changes", type=int, default=300, metavar="N", help="pull requests")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    noises = {**MODELS, **traces()}
    samples = {
        name: {effect: _samples(noise, effect, options) for effect in _EFFECTS}
        for name, noise in noises.items()
    }
    print("\nVerdicts by the kind of noise\n")
    header = ["noise", "+3 % found", "pairs, median", "+1 % found", "none: slower or faster"]
    print(timing.table(header, [_row(name, by_effect) for name, by_effect in samples.items()]))
    print("\nThe same samples, all kinds of noise together; in brackets the worst of them\n")
    print(timing.table(["method", "+3 % found", "+1 % found", "none: called"], _others(samples)))
    print(f"\nPull requests of {_BENCHMARKS} benchmarks of all models, none of which is slower\n")
    print(timing.table(["pull requests", "with a false alarm", "target"], [_changes(options)]))
    print("\nTime\n")
    print(timing.table(["decisions", "CPU time", "target"], [_time(options.seed)]))


def _samples(noise: Noise, effect: float, options: argparse.Namespace) -> Samples:
    random = Random(f"{options.seed} {effect}")  # noqa: S311 -- the same samples in every run
    return [pairs_of(noise, random, effect, _EFFECTS[effect]) for _ in range(options.comparisons)]


def _alone(pairs: Sequence[Pair]) -> tuple[VerdictState, int]:
    """Return the verdict about a benchmark alone, and the pairs that it takes."""
    limits = Limits(pairs=len(pairs))
    for count in range(8, len(pairs) + 1, 4):
        verdict = decide({"": pairs[:count]}, limits).verdicts[""]
        if verdict.state != "undecided":
            break
    return verdict.state, count


def _row(name: str, by_effect: Mapping[float, Samples]) -> Sequence[str]:
    decided = {effect: [_alone(pairs) for pairs in rows] for effect, rows in by_effect.items()}
    shares = {
        effect: sum(state in ("slower", "faster") for state, _ in rows) / len(rows)
        for effect, rows in decided.items()
    }
    pairs = median(count for _, count in decided[0.03])
    return [
        name,
        _percent(shares[0.03]),
        f"{pairs:.0f}",
        *map(_percent, (shares[0.01], shares[0.0])),
    ]


def _others(samples: Mapping[str, Mapping[float, Samples]]) -> Sequence[Sequence[str]]:
    methods: dict[str, Method | None] = {
        "interleaved pairs": lambda rows: [_alone(row)[0] in ("slower", "faster") for row in rows],
        **{tool: _of_nvbench(tool) for tool in nvbench.TOOLS},
        "fixed threshold of 5 %": lambda rows: [_differs(*_sides(row)) for row in rows],
        "Mann-Whitney, p < 0.01": _mann_whitney(),
    }
    table = []
    for name, method in methods.items():
        if method is None:
            table.append([name, *["not installed"] * len(_EFFECTS)])
            continue
        shares: dict[float, list[float]] = {effect: [] for effect in _EFFECTS}
        for by_effect in samples.values():
            for effect, rows in by_effect.items():
                called = method(rows)
                shares[effect].append(sum(called) / len(called))
        cells = []
        for effect, values in shares.items():
            worst = min(values) if effect else max(values)
            cells.append(f"{_percent(sum(values) / len(values))} ({_percent(worst)})")
        table.append([name, *cells])
    return table


def _sides(pairs: Sequence[Pair]) -> tuple[Sequence[float], Sequence[float]]:
    return [pair.baseline for pair in pairs], [pair.change for pair in pairs]


def _differs(baseline: Sequence[float], change: Sequence[float]) -> bool:
    return abs(median(change) / median(baseline) - 1) > 0.05


def _mann_whitney() -> Method | None:
    try:
        from scipy.stats import mannwhitneyu  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        return None
    return lambda rows: [mannwhitneyu(*_sides(row)).pvalue < _HUNDREDTH for row in rows]


def _of_nvbench(tool: str) -> Method | None:
    program = shutil.which(tool)
    if program is None:
        return None

    def method(rows: Samples) -> Sequence[bool]:
        with TemporaryDirectory(prefix="envmatrix-nvbench-") as scratch:
            files = Path(scratch, "baseline.json"), Path(scratch, "change.json")
            for side, file in enumerate(files):
                nvbench.write([[1e-3 * value for value in _sides(row)[side]] for row in rows], file)
            statuses = nvbench.verdicts(program, *files)
        return [status in ("SLOW", "FAST") for status in statuses]

    return method


def _changes(options: argparse.Namespace) -> Sequence[str]:
    limits, alarms = Limits(), 0
    random, models = Random(options.seed), [*MODELS.values()]  # noqa: S311 -- as above
    for _ in range(options.changes):
        series = {
            str(number): pairs_of(models[number % len(models)], random, 0.0, limits.pairs)
            for number in range(_BENCHMARKS)
        }
        verdicts = decide(series, limits).verdicts.values()
        alarms += any(verdict.state == "slower" for verdict in verdicts)
    return [str(options.changes), f"{alarms} ({_percent(alarms / options.changes)})", "≤ 1 %"]


def _time(seed: int) -> Sequence[str]:
    random, count = Random(seed), 10_000  # noqa: S311 -- as above
    series = [pairs_of(MODELS["Gaussian, 0.5 %"], random, 0.0, 32) for _ in range(count)]
    begin = time.process_time()
    for pairs in series:
        decide({"": pairs}, Limits())
    return [f"{count:,}, of 32 pairs", f"{time.process_time() - begin:.1f} s", "60 s"]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
