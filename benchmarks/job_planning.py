"""How long does it take to plan jobs, and does the time grow with their number only?

In synthetic repositories, as fresh processes with all that is remembered of the matrix:
  plan   `envmatrix plan --jobs --json`: ids of all jobs, the critical path, times on 64 machines
  varied the same with four variants of the library
  compilers  the same with four variants, and with about six compilers for each of the cells
  compilers, first  the same with nothing remembered, as after a change of matrix.yaml
  cccl   CCCL's own planner, with its matrix and the workflow for weeks, once and as many times as
         are as many jobs: `.github/actions/workflow-build/build-workflow.py` of a checkout that
         --cccl names
Target: 0.4 times the CPU time of CCCL's planner for as many jobs, and linear growth; variants take
less than as many cells; 1,000 cells with six compilers and four variants at most 3 s, the first
run as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import yaml
from benchmarks import synthetic, timing

from envmatrix.matrix.variants import BuildType

_PLAN = (*timing.ENVMATRIX, "plan", "--jobs", "--json", "--quiet")
PLANNER = ".github/actions/workflow-build/build-workflow.py"
_WORKFLOW = "weekly"
# Numbers of copies of the workflow: 1,200 jobs and 20,000.
_COPIES = (1, 17)


def main() -> None:
    parser = timing.arguments(__doc__, rounds=5)
    parser.add_argument("--cells", type=int, nargs="+", metavar="N", default=[300, 1250, 5000])
    parser.add_argument("--varied", type=int, nargs="*", metavar="N", default=[1250])
    parser.add_argument("--compilers", type=int, nargs="*", metavar="N", default=[1000])
    parser.add_argument("--cccl", type=Path, metavar="DIR", help="a checkout of CCCL")
    options = parser.parse_args()
    timing.announce("Planning jobs")
    with TemporaryDirectory(prefix="envmatrix-jobs-") as scratch:
        repositories = {f"{cells} cells": Path(scratch, str(cells)) for cells in options.cells}
        for cells, directory in zip(options.cells, repositories.values(), strict=True):
            _make(directory, cells)
        for cells in options.varied:
            directory = repositories[f"{cells} cells, varied"] = Path(scratch, f"{cells}-varied")
            _make(directory, cells)
            _vary(directory)
        for cells in options.compilers:
            directory = repositories[f"{cells} cells, compilers"] = Path(scratch, f"{cells}-all")
            _make(directory, cells, compilers=True)
            _vary(directory)
        sides: dict[str, timing.Side] = {
            cells: partial(timing.run, _PLAN, directory, _cache_of(directory))
            for cells, directory in repositories.items()
        }
        counts = {cells: _jobs(directory) for cells, directory in repositories.items()}
        for cells in options.compilers:
            name = f"{cells} cells, compilers"
            sides[f"{name}, first"] = partial(_first_run, repositories[name])
            counts[f"{name}, first"] = counts[name]
        for copies in _COPIES if options.cccl else ():
            directory, name = Path(scratch, f"cccl-{copies}"), f"CCCL, {copies} times {_WORKFLOW}"
            sides[name] = side_of_cccl(options.cccl, directory, copies)
            sides[name]()
            counts[name] = jobs_of_cccl(directory)
        rounds = timing.interleaved(sides, options.rounds)
        print(timing.table(_HEADER, _rows(counts, rounds)))


_HEADER = ["planner", "jobs", "CPU", "CPU for 1,000 jobs", "to CCCL for as many", "peak RSS"]


def _make(directory: Path, cells: int, *, compilers: bool = False) -> None:
    synthetic.make(directory, cells, compilers=compilers)
    shutil.copytree(timing.ROOT / "examples/vectorops", directory / "examples/vectorops")


def _vary(directory: Path) -> None:
    """Add variants to the libraries; the lock stays as it is."""
    file = directory / "matrix.yaml"
    matrix = yaml.safe_load(file.read_text("utf-8"))
    for library in matrix["libraries"].values():
        library["variants"] = {"build_type": [*get_args(BuildType)]}
    file.write_text(yaml.safe_dump(matrix), "utf-8")


def _cache_of(directory: Path) -> Mapping[str, str]:
    """Return the variable of a cache of its own: a shared one forgets the values of others."""
    return {"ENVMATRIX_CACHE": str(directory / ".cache")}


def _first_run(directory: Path) -> timing.Usage:
    with TemporaryDirectory(prefix="envmatrix-cache-") as cache:
        return timing.run(_PLAN, directory, {"ENVMATRIX_CACHE": cache})


def _jobs(directory: Path) -> int:
    variables = {**os.environ, **_cache_of(directory)}
    done = subprocess.run(_PLAN, cwd=directory, env=variables, check=True, stdout=subprocess.PIPE)
    return done.stdout.count(b'"needs":')  # as values they would make this process large


def side_of_cccl(checkout: Path, directory: Path, copies: int) -> timing.Side:
    """Return CCCL's planner with copies of a workflow: jobs of each are in groups of their own."""
    names = [_WORKFLOW, *(f"{_WORKFLOW}{number}" for number in range(2, copies + 1))]
    text = (checkout / "ci/matrix.yaml").read_text("utf-8")
    before, head, after = text.partition(f"\n  {_WORKFLOW}:\n")
    entries, end, others = after.partition("\n\n")
    aliases = "".join(f"\n  {name}: *{_WORKFLOW}" for name in names[1:])
    anchor = head.replace(":", f": &{_WORKFLOW}")
    directory.mkdir()
    text = "".join((before, anchor, entries, aliases, end, others))
    (directory / "matrix.yaml").write_text(text, "utf-8")
    planner = [sys.executable, str(checkout.resolve() / PLANNER), "matrix.yaml", "--workflows"]
    return partial(timing.run, [*planner, *names], directory)


def jobs_of_cccl(directory: Path) -> int:
    """Return the number of jobs in the workflow that CCCL's planner wrote."""
    groups = json.loads((directory / "workflow/workflow.json").read_text("utf-8")).values()
    stages = [stage for group in groups for stage in group.get("two_stage", ())]
    alone = sum(len(group.get("standalone", ())) for group in groups)
    return alone + sum(len(stage["producers"]) + len(stage["consumers"]) for stage in stages)


def _rows(counts: Mapping[str, int], rounds: timing.Rounds) -> Sequence[Sequence[str]]:
    rows = []
    others = {name: count for name, count in counts.items() if name.startswith("CCCL")}
    for name, count in counts.items():
        seconds = timing.cpu(rounds[name])
        to_cccl = ""
        if others and name not in others:
            other = min(others, key=lambda each: abs(others[each] - count))
            ratio = timing.ratio(rounds, name, other, of="cpu") * others[other] / count
            to_cccl = f"{ratio:.2f}"
        planner = name if name in others else f"envmatrix, {name}"
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
