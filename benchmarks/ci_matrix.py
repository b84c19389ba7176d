"""How long does it take to read the CI matrix of a large project, compared with its own planner?

examples/cccl-matrix in a copy, and CCCL's planner with the matrix and the three workflows that the
example replaces, in a checkout that --cccl names; each a fresh process:
  read     what every command does first when nothing is remembered: read, validate and expand
  plan     `envmatrix plan --tier weekly --json`, with what is remembered of the matrix
  planner  `.github/actions/workflow-build/build-workflow.py --workflows ...`
Target: at most 0.5 times the CPU time of the planner.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing
from benchmarks.job_planning import PLANNER

_EXAMPLE = timing.ROOT / "examples/cccl-matrix"
_WORKFLOWS = ("pull_request", "nightly", "weekly")
_READ = (
    "from pathlib import Path; from envmatrix.matrix.loading import load_matrix; "
    "load_matrix(Path.cwd())"
)
_TARGET = 0.5


def main() -> None:
    parser = timing.arguments(__doc__, rounds=15)
    parser.add_argument(
        "--cccl", type=Path, metavar="DIR", required=True, help="a checkout of CCCL"
    )
    options = parser.parse_args()
    timing.announce("Reading a CI matrix")
    with TemporaryDirectory(prefix="envmatrix-ci-matrix-") as scratch:
        example, checkout = Path(scratch, "example"), options.cccl.resolve()
        shutil.copytree(_EXAMPLE, example)
        cache = {"ENVMATRIX_CACHE": str(Path(scratch, "cache"))}
        plan = [*timing.ENVMATRIX, "plan", "--tier", "weekly", "--json", "--quiet"]
        planner = [sys.executable, str(checkout / PLANNER), str(checkout / "ci/matrix.yaml")]
        sides = {
            "read": partial(timing.run, [sys.executable, "-c", _READ], example),
            "plan": partial(timing.run, plan, example, cache),
            "planner": partial(timing.run, [*planner, "--workflows", *_WORKFLOWS], Path(scratch)),
        }
        rounds = timing.interleaved(sides, options.rounds)
    print(
        timing.table(["", "CPU", "to the planner", "target"], [*map(partial(_row, rounds), sides)])
    )


def _row(rounds: timing.Rounds, side: str) -> Sequence[str]:
    milliseconds = f"{timing.cpu(rounds[side]) * 1000:.0f} ms"
    if side == "planner":
        return [side, milliseconds, "", ""]
    return [
        side,
        milliseconds,
        f"{timing.ratio(rounds, side, 'planner', of='cpu'):.2f}",
        str(_TARGET),
    ]


if __name__ == "__main__":
    main()
