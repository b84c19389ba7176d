"""How long does it take to plan a pipeline for CI engines?

In synthetic repositories, as fresh processes with all that is remembered of the matrix:
  github, gitlab, jenkins  `envmatrix ci plan --engine NAME` of all cells
  all engines  one process that plans once, and translates the plan for each of them
  again  `envmatrix ci plan` with a plan that is there already: no file is written
  cccl   CCCL's own planner, with its matrix and the workflow for weeks, of a checkout that --cccl
         names: it plans for GitHub
Target: planning and translating for all engines takes 0.4 times the CPU time of CCCL's planner for
as many jobs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import synthetic, timing
from benchmarks.job_planning import jobs_of_cccl, side_of_cccl

from envmatrix.pipeline.triggers import ENGINES

_PLAN = (*timing.ENVMATRIX, "ci", "plan", "--quiet", "--event", "schedule")
_ALL = f"""
from pathlib import Path
from envmatrix.app.pipeline_plan import Request, plan_for, read_trigger, write_plan
from envmatrix.app.pipeline_translation import translate
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console

workspace, console, directory = Workspace.here(), Console(-1), Path("build/all")
variables = {{"GITHUB_OUTPUT": "build/outputs", "GITHUB_STEP_SUMMARY": "build/summary.md"}}
trigger = read_trigger(None, {{}}, Request("schedule"))
pipeline = plan_for(workspace, None, trigger, directory, console)
write_plan(directory, pipeline)
for engine in {ENGINES}:
    translate(pipeline, engine, workspace, directory, variables)
"""


def main() -> None:
    parser = timing.arguments(__doc__, rounds=5)
    parser.add_argument("--cells", type=int, default=468, metavar="N")
    parser.add_argument("--cccl", type=Path, metavar="DIR", help="a checkout of CCCL")
    options = parser.parse_args()
    timing.announce("Planning pipelines")
    with TemporaryDirectory(prefix="envmatrix-pipeline-") as scratch:
        directory = Path(scratch, "repository")
        synthetic.make(directory, options.cells)
        shutil.copytree(timing.ROOT / "examples/vectorops", directory / "examples/vectorops")
        cache = {"ENVMATRIX_CACHE": str(directory / ".cache")}
        sides: dict[str, timing.Side] = {
            engine: partial(timing.run, (*_PLAN, "--engine", engine), directory, cache)
            for engine in ENGINES
        }
        sides["all engines"] = partial(timing.run, (sys.executable, "-c", _ALL), directory, cache)
        sides["again"] = partial(timing.run, _PLAN, directory, cache)
        timing.run(_PLAN, directory, cache)
        plan = (directory / "build/ci/plan.json").read_bytes()
        counts = dict.fromkeys(sides, plan.count(b'\n{"id"'))
        if options.cccl:
            sides["CCCL"] = side_of_cccl(options.cccl, Path(scratch, "cccl"), 1)
            sides["CCCL"]()
            counts["CCCL"] = jobs_of_cccl(Path(scratch, "cccl"))
        rounds = timing.interleaved(sides, options.rounds)
        print(timing.table(["planner", "jobs", "CPU", "to CCCL's"], _rows(counts, rounds)))


def _rows(counts: Mapping[str, int], rounds: timing.Rounds) -> Sequence[Sequence[str]]:
    rows = []
    for name, count in counts.items():
        ratio = ""
        if "CCCL" in counts and name != "CCCL":
            own = timing.ratio(rounds, name, "CCCL", of="cpu")
            ratio = f"{own * counts['CCCL'] / count:.2f}"
        rows.append([name, f"{count:,}", timing.seconds(timing.cpu(rounds[name])), ratio])
    return rows


if __name__ == "__main__":
    main()
