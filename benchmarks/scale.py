"""How long do a thousand cells take, and do time and memory grow with their number only?

In synthetic repositories, as fresh processes:
  why               reads, validates, expands and checks the matrix
  generate --check  reads the lock too, compares it with what the matrix asks for, renders every
                    Dockerfile and compares it with the one on disk
  plan              takes the inputs of every image from the cache, and asks the engine for all
Targets: `generate --check` of 1,000 cells within 1.0 s of CPU; twice the cells, at most 2.2 times
the time; 8,000 cells, at most 1.5 times the memory; `plan` of 4,004 cells, at most 3.5 times the
time of 1,210.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import synthetic, timing

from envmatrix.matrix.loading import load_matrix

VERBS = {
    "why": ["why", "cuda13.0-debian12-x86_64"],
    "generate": ["generate", "--check"],
    "plan": ["plan"],
}


def main() -> None:
    parser = timing.arguments(__doc__, rounds=5)
    parser.add_argument(
        "--cells", type=int, nargs="+", metavar="N", default=[1000, 2000, 4000, 8000]
    )
    options = parser.parse_args()
    timing.announce("Scale")
    with TemporaryDirectory(prefix="envmatrix-scale-") as scratch:
        repositories = {cells: Path(scratch, str(cells)) for cells in options.cells}
        for cells, directory in repositories.items():
            synthetic.make(directory, cells)
        sides = {
            f"{name} {cells}": partial(timing.run, [*timing.ENVMATRIX, *verb], directory)
            for cells, directory in repositories.items()
            for name, verb in VERBS.items()
        }
        rounds = timing.interleaved(sides, options.rounds)
        print(timing.table(_HEADER, _rows(repositories, rounds)))


_HEADER = [
    "cells",
    "Dockerfiles",
    "`why`",
    "`generate --check`",
    "to half the cells",
    "peak RSS",
    "to the fewest",
    "`plan`",
    "to the fewest",
    "peak RSS",
    "to the fewest",
]


def _rows(repositories: Mapping[int, Path], rounds: timing.Rounds) -> Sequence[Sequence[str]]:
    """Return the table's cells; times are CPU seconds of the processes, without the engine's."""
    rows = []
    fewest = min(repositories)
    for cells, directory in repositories.items():
        why, generate, plan = (f"{name} {cells}" for name in VERBS)
        rows.append(
            [
                f"{len(load_matrix(directory).cells):,}",
                f"{len(list(directory.glob('dockerfiles/*/Dockerfile'))):,}",
                timing.seconds(timing.cpu(rounds[why])),
                timing.seconds(timing.cpu(rounds[generate])),
                _ratio(rounds, generate, f"generate {cells // 2}", of="cpu"),
                timing.megabytes(timing.peak(rounds[generate])),
                _ratio(rounds, generate, f"generate {fewest}", of="peak"),
                timing.seconds(timing.cpu(rounds[plan])),
                _ratio(rounds, plan, f"plan {fewest}", of="cpu"),
                timing.megabytes(timing.peak(rounds[plan])),
                _ratio(rounds, plan, f"plan {fewest}", of="peak"),
            ]
        )
    return rows


def _ratio(rounds: timing.Rounds, side: str, other: str, *, of: str) -> str:
    """Return the ratio of two sides; nothing if the other one was not measured."""
    return f"{timing.ratio(rounds, side, other, of=of):.2f}" if other in rounds else ""


if __name__ == "__main__":
    main()
