"""How long do a thousand cells take, and does the time grow with their number only?

In synthetic repositories, as fresh processes:
  why               reads, validates, expands and checks the matrix
  generate --check  reads the lock too, compares it with what the matrix asks for, renders every
                    Dockerfile and compares it with the one on disk
Target: `generate --check` of 1,000 cells within 1.0 s of CPU; twice the cells, at most 2.2 times
the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import synthetic, timing

from envmatrix.matrix.loading import load_matrix

VERBS = {"why": ["why", "cuda13.0-debian12-x86_64"], "generate": ["generate", "--check"]}


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


_HEADER = ["cells", "Dockerfiles", "`why`", "`generate --check`", "to half the cells", "peak RSS"]


def _rows(repositories: Mapping[int, Path], rounds: timing.Rounds) -> Sequence[Sequence[str]]:
    """Return the table's cells; times are CPU seconds."""
    rows = []
    for cells, directory in repositories.items():
        matrix = load_matrix(directory)
        why, generate, half = f"why {cells}", f"generate {cells}", f"generate {cells // 2}"
        growth = timing.ratio(rounds, generate, half, of="cpu") if half in rounds else None
        rows.append(
            [
                f"{len(matrix.cells):,}",
                f"{len(list(directory.glob('dockerfiles/*/Dockerfile'))):,}",
                timing.seconds(timing.cpu(rounds[why])),
                timing.seconds(timing.cpu(rounds[generate])),
                f"{growth:.2f}" if growth else "",
                timing.megabytes(timing.peak(rounds[generate])),
            ]
        )
    return rows


if __name__ == "__main__":
    main()
