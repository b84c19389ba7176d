"""Jobs of CCCL's CI, as its own planner makes them, and those of examples/cccl-matrix.

`python -m tests.cccl DIRECTORY` writes the jobs that the planner of a checkout makes to the record
of the example: in our words, with the commit. Nothing else of the checkout is kept.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from envmatrix.matrix.model import Matrix
from envmatrix.matrix.run_expansion import needs_compilation
from envmatrix.matrix.runs import COMPILE
from envmatrix.matrix.variants import Variant

EXAMPLE = Path(__file__).parents[1] / "examples/cccl-matrix"
RECORD = EXAMPLE / "jobs.csv"
CHECKOUT = "ENVMATRIX_TEST_CCCL"
_PLANNER = ".github/actions/workflow-build/build-workflow.py"
# What its scripts make of arguments: ci/build_common.sh.
_OPTIONS = {"--enable-tile": "-DCCCL_ENABLE_TILE=ON"}
_STANDARD = "17"
_WITHOUT_STANDARD = (
    *("cccl_c_parallel", "cccl_c_parallel_v2", "cccl_c_stf", "nvbench_helper", "packaging"),
    *("python", "python_stf", "python_tsan", "python_v2"),
)
# All that nvcc 13.3 compiles for, without those of one architecture or family.
_SM = {"all-cccl": "75;80;86;87;88;89;90;100;103;110;120;121"}
# Parts of ci/matrix.yaml that define no jobs of the three workflows.
_OTHER = ("compile_time", "sass", "")
_WORKFLOWS = {"pull_request": "pr", "nightly": "nightly", "weekly": "weekly"}


class Job(NamedTuple):
    """A job: a step of a library in a cell. `settings` are those of its variant, `needs` the
    library and step of the job whose products it takes."""

    library: str
    step: str
    cuda: str
    compiler: str
    cuda_compiler: str
    arch: str
    std: str = ""
    gpu: str = ""
    settings: str = ""
    needs: str = ""


# The tiers of jobs.
Jobs = Mapping[Job, frozenset[str]]


def planner_jobs(checkout: Path) -> Jobs:
    """Return the jobs that the planner of a checkout of CCCL makes for all tiers."""
    tiers: dict[Job, set[str]] = {}
    with TemporaryDirectory(prefix="envmatrix-cccl-") as scratch:
        for workflow, tier in _WORKFLOWS.items():
            planner = [sys.executable, str(checkout / _PLANNER), str(checkout / "ci/matrix.yaml")]
            subprocess.run(
                [*planner, "--workflows", workflow], cwd=scratch, check=True, capture_output=True
            )
            groups = json.loads(Path(scratch, "workflow/workflow.json").read_text("utf-8"))
            for job in _jobs_of(groups.values()):
                tiers.setdefault(job, set()).add(tier)
    return {job: frozenset(names) for job, names in tiers.items()}


def _jobs_of(groups: Iterable[Mapping[str, Any]]) -> Iterator[Job]:
    for group in groups:
        yield from map(_job, group.get("standalone", ()))
        for stage in group.get("two_stage", ()):
            (producer,) = map(_job, stage["producers"])
            yield producer
            needs = f"{producer.library} {producer.step}"
            yield from (_job(job)._replace(needs=needs) for job in stage["consumers"])


def _job(row: Mapping[str, Any]) -> Job:
    """Return a job of the planner's in our words."""
    tags = row["origin"]["matrix_job"]
    library, step = _step(tags["project"], tags["jobs"][0])
    mode = tags.get("py_ctk_mode")
    args = _OPTIONS.get(tags.get("args", ""), tags.get("args"))
    texts = [tags.get("cmake_options"), args, *(tags.get("environment") or ())]
    sm = str(tags.get("sm", ""))
    settings = {"sm": _SM.get(sm, sm), "python": str(tags.get("py_version", ""))}
    named = [f"{key}={value}" for key, value in settings.items() if value]
    std = "" if library in _WITHOUT_STANDARD else str(tags.get("std", _STANDARD))
    return Job(
        library,
        f"{step}_{mode}" if mode else step,
        str(tags["ctk"]),
        re.sub(r"^([a-z]+)(_preview)?", r"\1-", tags["cxx"]),
        re.sub(r"[\d.]+$", "", tags["cudacxx"]),
        {"amd64": "x86_64", "arm64": "aarch64"}[tags["cpu"]],
        std,
        tags.get("gpu", ""),
        " ".join([*named, *filter(None, texts)]),
    )


def _step(project: str, job: str) -> tuple[str, str]:
    """Return the library and the step that a job of a project is: each build is a library."""
    kind, _, part = job.partition("_")
    if part in ("nolid", "lid0", "lid1", "lid2"):
        return f"{project}-{part}", {"build": "compile"}.get(kind, kind)
    if match := re.fullmatch(r"compute_(\w+)_(\w+)", job):
        return f"{project}-{match[2]}", f"{match[1]}check"
    if part.startswith("py_stf"):
        return f"{project}_stf", {"build": "compile"}.get(kind, kind)
    if kind == "build":
        return project, "compile"
    return project, "test" if job == "test_nobuild" else job


def own_jobs(matrix: Matrix) -> Jobs:
    """Return the jobs of the runs that a matrix lists."""
    jobs = {}
    for run in matrix.runs:
        cell, variant = run.cell, run.library.variant
        needs = ""
        if run.step != COMPILE and needs_compilation(run.step, run.library):
            needs = f"{run.library.declared_name} {COMPILE}"
        job = Job(
            run.library.declared_name,
            "test" if run.step == "check" else run.step,
            cell.cuda,
            variant.sdk or cell.host_compiler.name,
            cell.cuda_compiler or "nvcc",
            cell.arch,
            variant.std or "",
            run.runs_on.label.replace("-2gpus", "_2gpu") if run.runs_on else "",
            _settings(variant),
            needs,
        )
        jobs[job] = frozenset(run.tiers)
    return jobs


def _settings(variant: Variant) -> str:
    words = {"PYTHON_VERSION": "python=", "ARGS": ""}
    environment = [
        f"{words.get(name, f'{name}=')}{value}" for name, value in variant.environment.items()
    ]
    sm = [f"sm={';'.join(variant.sm)}"] if variant.sm else []
    return " ".join([*sm, *environment, *variant.options])


class Difference(NamedTuple):
    """A job in a tier that one side has alone."""

    side: Literal["CCCL", "envmatrix"]
    job: Job
    tier: str


class Reason(NamedTuple):
    """A reason for differences, and those that it explains."""

    text: str
    explains: Callable[[Difference], bool]


REASONS = (
    Reason(
        "MSVC compiles for Windows, which nvcc on Linux cannot",
        lambda row: row.job.compiler.startswith("msvc-"),
    ),
    Reason(
        "CUDA 13.0 needs a glibc before 2.42, and the only system with Clang 20 has 2.43; CCCL "
        "installs LLVM's own packages on Ubuntu 24.04",
        lambda row: (row.job.cuda, row.job.compiler) == ("13.0", "clang-20"),
    ),
    Reason(
        "nvcc 12.0 does not take GCC 13, which CCCL uses beside it because Python tests compile "
        "nothing with nvcc: here it is GCC 12",
        lambda row: (
            row.job.library.startswith("python")
            and (row.job.cuda, row.job.step != COMPILE) == ("12.0", True)
        ),
    ),
    Reason(
        "a wheel is compiled in the cell that tests it; CCCL compiles it with CUDA 12.9 for all",
        lambda row: row.job.library.startswith("python") and row.job.step == COMPILE,
    ),
)


def differences(theirs: Jobs, ours: Jobs) -> Sequence[Difference]:
    """Return the jobs in tiers that one side has alone, sorted."""
    sides: Mapping[Literal["CCCL", "envmatrix"], tuple[Jobs, Jobs]] = {
        "CCCL": (theirs, ours),
        "envmatrix": (ours, theirs),
    }
    return sorted(
        Difference(side, job, tier)
        for side, (jobs, others) in sides.items()
        for job, tiers in jobs.items()
        for tier in tiers - others.get(job, frozenset())
    )


def reason_of(difference: Difference) -> Reason | None:
    """Return the first reason that explains a difference."""
    return next((reason for reason in REASONS if reason.explains(difference)), None)


def difference_table(theirs: Jobs, ours: Jobs) -> str:
    """Return the differences by reason and tier, as a table for the README."""
    rows = differences(theirs, ours)
    lines = ["| reason | jobs of CCCL alone | jobs of envmatrix alone |", "|---|---:|---:|"]
    for reason in REASONS:
        counts = Counter(row.side for row in rows if reason_of(row) is reason)
        lines.append(f"| {reason.text} | {counts['CCCL']} | {counts['envmatrix']} |")
    return "\n".join(lines)


def count_table(theirs: Jobs, ours: Jobs) -> str:
    """Return the numbers of jobs by tier, as a table for the README."""
    lines = ["| tier | jobs of CCCL | the same here | CCCL alone | here alone |"]
    lines.append("|---|---:|---:|---:|---:|")
    rows = differences(theirs, ours)
    for tier in _WORKFLOWS.values():
        of_cccl = sum(tier in tiers for tiers in theirs.values())
        alone = Counter(row.side for row in rows if row.tier == tier)
        same, here = of_cccl - alone["CCCL"], alone["envmatrix"]
        lines.append(f"| `{tier}` | {of_cccl:,} | {same:,} | {alone['CCCL']} | {here} |")
    return "\n".join(lines)


def read_record(text: str) -> tuple[str, Jobs]:
    """Return the commit of CCCL and the jobs of a record."""
    first, _, rows = text.partition("\n")
    commit, jobs = first.removeprefix("# CCCL "), {}
    for tiers, *values in list(csv.reader(io.StringIO(rows)))[1:]:
        jobs[Job(*values)] = frozenset(tiers.split())
    return commit, jobs


def record(commit: str, jobs: Jobs) -> str:
    """Return the text of a record."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("tiers", *Job._fields))
    order = {tier: place for place, tier in enumerate(_WORKFLOWS.values())}
    for job, tiers in sorted(jobs.items()):
        writer.writerow((" ".join(sorted(tiers, key=order.__getitem__)), *job))
    return f"# CCCL {commit}\n{text.getvalue()}"


def lines_of(matrix: str) -> int:
    """Return the number of lines of ci/matrix.yaml that the example replaces, without comments:
    the workflows, `exclude`, and all that they refer to."""
    count, keys = 0, ("", "")
    for line in matrix.splitlines():
        if match := re.match(r"(  )?([a-z_-]+):", line):
            keys = (keys[0], match[2]) if match[1] else (match[2], "")
        top, inner = keys
        is_replaced = inner in (*_WORKFLOWS, "exclude") if top == "workflows" else top not in _OTHER
        count += is_replaced and bool(line.split("#")[0].strip())
    return count


def commit_of(checkout: Path) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a checkout of CCCL")
    checkout = parser.parse_args().checkout.resolve()
    RECORD.write_text(record(commit_of(checkout), planner_jobs(checkout)), encoding="utf-8")


if __name__ == "__main__":
    main()
