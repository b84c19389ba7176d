"""A pipeline for GitHub Actions: rows of matrices, as outputs of a job. Pure.

The generated workflow starts a reusable one for each chunk of rows.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import get_args

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.model import STAGES, Pipeline, PipelineJob, Prospect, Runner
from envmatrix.pipeline.summary import escaped

# GitHub runs at most 256 jobs of a matrix: of the chunks, and of the rows of each.
MOST_ROWS = 250
# GitHub's limit for the outputs of a job, which it takes as UTF-16; less what others take.
MOST_BYTES = 1_000_000
_BYTES_OF_CHARACTER = 2
# Steps of a job beside `envmatrix ci run`, which keeps the limit itself: checkout and artifacts.
_MINUTES_AROUND = 10
# What GitHub gives a job on its own machines.
_MOST_MINUTES = 6 * 60
_ID_DIGITS = 12
_MOST_REASONS = 50

Row = Mapping[str, object]


def outputs(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the outputs of the job that plans: the chunks of each stage, and `trusted`.

    Raise ConfigurationError where a job has no label, or GitHub's limits are exceeded.
    """
    values: dict[str, str] = {
        stage: _chunked([_row(pipeline, batch) for batch in _batches(pipeline.of_stage(stage))])
        for stage in STAGES
    }
    return _checked({**values, "trusted": json.dumps(pipeline.trigger.is_trusted)})


def second_attempt(pipeline: Pipeline, jobs: Iterable[PipelineJob]) -> Mapping[str, str]:
    """Return the output `again` of the job that looks for jobs worth a second attempt: the rows of
    these alone. `all` are the jobs of a row whose results are kept."""
    keys = {job.id for job in jobs}
    batches = [batch for stage in STAGES for batch in _batches(pipeline.of_stage(stage))]
    rows = []
    for batch in batches:
        again = [job for job in batch if job.id in keys]
        if again:
            row = _row(pipeline, batch)
            rows.append({**row, "ids": _ids(again), "all": row["ids"]})
    return _checked({"again": _chunked(rows)})


def output_lines(values: Mapping[str, str]) -> str:
    """Return lines for the file $GITHUB_OUTPUT; values are JSON, so each is one line of ASCII."""
    return "".join(f"{name}={value}\n" for name, value in values.items())


def summary(pipeline: Pipeline) -> str:
    """Return what is planned, as Markdown for the page of the run."""
    prospects = get_args(Prospect)
    lines = [f"| stage | {' | '.join(prospects)} |", f"|---|{'---:|' * len(prospects)}"]
    for stage in STAGES:
        counts = Counter(job.prospect for job in pipeline.jobs if job.stage == stage)
        lines.append(f"| {stage} | {' | '.join(str(counts[name]) for name in prospects)} |")
    skipped = {job.name: job.reason for job in pipeline.jobs if job.prospect == "skipped"}
    reasons = [*pipeline.left_out.items(), *skipped.items()]
    lines += ["", escaped(pipeline.emptiness)] if pipeline.emptiness else []
    lines += ["", *(f"- {escaped(name)}: {escaped(why)}" for name, why in reasons[:_MOST_REASONS])]
    if rest := len(reasons) - _MOST_REASONS:
        lines += [f"- and {rest} more"] if rest > 0 else []
    return "### Planned jobs\n\n" + "\n".join(lines).rstrip() + "\n"


def _chunked(rows: Sequence[Row]) -> str:
    chunks = [rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS)]
    return json.dumps(chunks, separators=(",", ":"))


def _batches(jobs: Iterable[PipelineJob]) -> Sequence[Sequence[PipelineJob]]:
    """Return jobs of a stage with those that they need and that need them, in order: the rows of a
    matrix run at the same time."""
    batches: dict[str, list[PipelineJob]] = {}  # each under the ids of all its jobs
    for job in jobs:
        needed = {id(batch): batch for batch in map(batches.get, job.needs) if batch is not None}
        merged = [*chain.from_iterable(needed.values()), job]
        batches |= dict.fromkeys((other.id for other in merged), merged)
    return [*{id(batch): batch for batch in batches.values()}.values()]


def _row(pipeline: Pipeline, batch: Sequence[PipelineJob]) -> Row:
    first, others = batch[0], batch[1:]
    runner = max((pipeline.runners[job.runner] for job in batch), key=_size)
    if not runner.github:
        message = f"the class of runners `{runner.name}` has no label of GitHub's"
        hint = "add it in matrix.yaml: `ci: {runners: {…: {github: [self-hosted, linux]}}}`"
        raise ConfigurationError(message, hint=hint)
    return {
        "ids": _ids(batch),
        "name": f"{first.name} and {len(others)} with it" if others else first.name,
        "labels": runner.github,
        "minutes": min(sum(job.minutes for job in batch) + _MINUTES_AROUND, _MOST_MINUTES),
        "group": first.group,
        "artifact": f"{first.stage}-{first.group}-{first.id[:_ID_DIGITS]}",
    }


def _ids(jobs: Iterable[PipelineJob]) -> str:
    return " ".join(job.id for job in jobs)


def _size(runner: Runner) -> tuple[int, float]:
    return runner.gpus, runner.memory or math.inf


def _checked(values: Mapping[str, str]) -> Mapping[str, str]:
    """Return the outputs if they are within GitHub's limit."""
    size = _BYTES_OF_CHARACTER * sum(len(name) + len(value) for name, value in values.items())
    if size > MOST_BYTES:
        message = f"the jobs of the plan take {size:,} bytes, and GitHub passes {MOST_BYTES:,} on"
        hint = "plan fewer: `--select`, `--library`, or a tier with fewer cells"
        raise ConfigurationError(message, hint=hint)
    return values
