"""How well are changes in histories of measurements located, and how often is there none?

Histories of 120 revisions are simulated with the models of noise of `decisions`, half of them with
a step of 2 %, upwards or downwards, at a random place with 15 revisions or more on either side. The
same histories go to others:
  Apache Otava  its change points with its default settings, by the interpreter that --otava names
  fixed         a value differs from the one before by more than 5 %
Target: 95 % of the steps located within 2 revisions, at most 1 false change in 1,000 histories
without one, and ahead of the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from benchmarks import timing
from benchmarks.noise import MODELS, Noise

from envmatrix.comparison.history import Sample, changes

_REVISIONS, _MARGIN, _STEP, _NEAR = 120, 15, 0.02, 2
_OTAVA = """
import json, sys
from otava.series import AnalysisOptions
from otava.analysis import compute_change_points
options = AnalysisOptions()
rows = []
for series in json.load(sys.stdin):
    points, _ = compute_change_points(
        series, window_len=options.window_len, max_pvalue=options.max_pvalue,
        min_magnitude=options.min_magnitude,
    )
    rows.append([int(point.index) for point in points])
json.dump(rows, sys.stdout)
"""

History = Sequence[float]
# Returns the places of changes of each history.
Method = Callable[[Sequence[History]], Sequence[Sequence[int]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--histories", type=int, default=1000, metavar="N", help="of each kind")
    parser.add_argument("--otava", type=Path, metavar="PYTHON", help="an interpreter with Otava")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    methods: dict[str, Method | None] = {
        "ranks, in windows": _ranks,
        "Apache Otava": _otava(options.otava) if options.otava else None,
        "fixed threshold of 5 %": lambda rows: [*map(_jumps, rows)],
    }
    header = ["noise", *(f"{name}: located, false" for name in methods)]
    table = []
    for name, noise in MODELS.items():
        stepped, places = _stepped(noise, options)
        random = Random(f"{options.seed} none")  # noqa: S311 -- the same in every run
        flat = [noise(random, _REVISIONS) for _ in range(options.histories)]
        cells = [_cell(method, stepped, places, flat) for method in methods.values()]
        table.append([name, *cells])
    print(f"\n{options.histories} histories of each kind with a step, and as many without\n")
    print(timing.table(header, table))


def _stepped(noise: Noise, options: argparse.Namespace) -> tuple[list[History], list[int]]:
    random = Random(f"{options.seed} step")  # noqa: S311 -- the same in every run
    histories: list[History] = []
    places: list[int] = []
    for _ in range(options.histories):
        place = random.randrange(_MARGIN, _REVISIONS - _MARGIN)
        factor = 1 + random.choice((1, -1)) * _STEP
        values = noise(random, _REVISIONS)
        histories.append([*values[:place], *(value * factor for value in values[place:])])
        places.append(place)
    return histories, places


def _cell(
    method: Method | None,
    stepped: Sequence[History],
    places: Sequence[int],
    flat: Sequence[History],
) -> str:
    if method is None:
        return "not installed"
    located = sum(
        any(abs(index - place) <= _NEAR for index in indices)
        for indices, place in zip(method(stepped), places, strict=True)
    )
    false = sum(bool(indices) for indices in method(flat))
    return f"{100 * located / len(stepped):.1f} %, {false} in {len(flat):,}"


def _ranks(rows: Sequence[History]) -> Sequence[Sequence[int]]:
    return [[change.index for change in changes([*map(_sample, row)])] for row in rows]


def _sample(value: float) -> Sample:
    return Sample("", value)


def _jumps(row: History) -> Sequence[int]:
    return [index for index in range(1, len(row)) if abs(row[index] / row[index - 1] - 1) > 0.05]


def _otava(interpreter: Path) -> Method:
    def method(rows: Sequence[History]) -> Sequence[Sequence[int]]:
        done = subprocess.run(
            [str(interpreter), "-c", _OTAVA],
            input=json.dumps([[*row] for row in rows]),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"Otava failed: {done.stderr[-500:]}")
        indices: Sequence[Sequence[int]] = json.loads(done.stdout)
        return indices

    return method


if __name__ == "__main__":
    main()
