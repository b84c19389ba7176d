"""How long does it take to plan jobs, and does the time grow with their number only?

In synthetic repositories, as fresh processes with all that is remembered of the matrix:
  plan   `envmatrix plan --jobs --json`: ids of all jobs, the critical path, times on 64 machines
  cccl   CCCL's own planner, with its matrix and the workflows for pull requests, nights and weeks:
         `.github/actions/workflow-build/build-workflow.py` of a checkout that --cccl names
Target: 0.4 times the CPU time of CCCL's planner for as many jobs, and linear growth.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import synthetic, timing

_PLAN = (*timing.ENVMATRIX, "plan", "--jobs", "--json", "--quiet")
_PLANNER = ".github/actions/workflow-build/build-workflow.py"
_WORKFLOWS = ("pull_request", "nightly", "weekly")


def main() -> None:
    parser = timing.arguments(__doc__, rounds=5)
    parser.add_argument("--cells", type=int, nargs="+", metavar="N", default=[350, 800, 3200, 6400])
    parser.add_argument("--cccl", type=Path, metavar="DIR", help="a checkout of CCCL")
    options = parser.parse_args()
    timing.announce("Planning jobs")
    with TemporaryDirectory(prefix="envmatrix-jobs-") as scratch:
        repositories = {str(cells): Path(scratch, str(cells)) for cells in options.cells}
        for cells, directory in repositories.items():
            synthetic.make(directory, int(cells))
            shutil.copytree(timing.ROOT / "examples/vectorops", directory / "examples/vectorops")
        sides = {
            cells: partial(timing.run, _PLAN, directory)
            for cells, directory in repositories.items()
        }
        counts = {cells: _jobs(directory) for cells, directory in repositories.items()}
        if options.cccl:
            planner = [sys.executable, str(options.cccl.resolve() / _PLANNER), "matrix.yaml"]
            copy = Path(scratch, "cccl")
            copy.mkdir()
            shutil.copy(options.cccl / "ci/matrix.yaml", copy)
            sides["CCCL"] = partial(timing.run, [*planner, "--workflows", *_WORKFLOWS], copy)
            sides["CCCL"]()
            counts["CCCL"] = _jobs_of_cccl(copy)
        rounds = timing.interleaved(sides, options.rounds)
        print(timing.table(_HEADER, _rows(counts, rounds)))


_HEADER = ["planner", "jobs", "CPU", "CPU for 1,000 jobs", "to CCCL for as many", "peak RSS"]


def _jobs(directory: Path) -> int:
    done = subprocess.run(_PLAN, cwd=directory, check=True, stdout=subprocess.PIPE)
    return len(json.loads(done.stdout)["jobs"])


def _jobs_of_cccl(directory: Path) -> int:
    """Return the number of jobs in the workflow that CCCL's planner wrote."""
    groups = json.loads((directory / "workflow/workflow.json").read_text("utf-8")).values()
    stages = [stage for group in groups for stage in group.get("two_stage", ())]
    alone = sum(len(group.get("standalone", ())) for group in groups)
    return alone + sum(len(stage["producers"]) + len(stage["consumers"]) for stage in stages)


def _rows(counts: Mapping[str, int], rounds: timing.Rounds) -> Sequence[Sequence[str]]:
    rows = []
    for name, count in counts.items():
        seconds = timing.cpu(rounds[name])
        to_cccl = ""
        if "CCCL" in counts and name != "CCCL":
            ratio = timing.ratio(rounds, name, "CCCL", of="cpu") * counts["CCCL"] / count
            to_cccl = f"{ratio:.2f}"
        planner = name if name == "CCCL" else f"envmatrix, {name} cells"
        rows.append(
            [
                planner,
                f"{count:,}",
                timing.seconds(seconds),
                timing.seconds(seconds * 1000 / count),
                to_cccl,
                timing.megabytes(timing.peak(rounds[name])),
            ]
        )
    return rows


if __name__ == "__main__":
    main()
