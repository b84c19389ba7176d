"""Pipelines as text. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import get_args

from envmatrix.pipeline.model import STAGES, Pipeline, Prospect
from envmatrix.render.job_reasons import Reason, reason_lines
from envmatrix.text import number_of, one_line, rough_duration

_WHOLE_LIST = "--json has all of them"


def lines(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for each stage, and why cells have no jobs and jobs are skipped."""
    for stage in STAGES:
        counts = Counter(job.prospect for job in pipeline.jobs if job.stage == stage)
        if counts:
            words = (f"{counts[name]} {name}" for name in get_args(Prospect) if counts[name])
            yield f"{stage:8} {', '.join(words)}"
    cells = [Reason.of_cell(cell, reason) for cell, reason in pipeline.left_out.items()]
    yield from reason_lines("left out", cells, _WHOLE_LIST)
    skipped = [
        Reason(job.name, job.cell, f"{job.kind} {job.library}", job.reason)
        for job in pipeline.jobs
        if job.prospect == "skipped"
    ]
    yield from reason_lines("skipped ", skipped, _WHOLE_LIST)
    count = sum(job.prospect == "to do" for job in pipeline.jobs)
    saved = f"; {rough_duration(pipeline.saved)} saved" if pipeline.saved else ""
    why = f": {one_line(pipeline.emptiness)}" if pipeline.emptiness else ""
    yield f"{number_of(count, 'job')} to do{why}{saved}"
