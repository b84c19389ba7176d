"""What became of jobs: as lines for people, and as a document. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from envmatrix.jobs.execution import JobResult, JobState, Report
from envmatrix.jobs.model import Job
from envmatrix.render.job_reasons import Reason, reason_lines
from envmatrix.text import duration, number_of, one_line

# More failures than these are counted, not shown.
_MOST = 20
_WHOLE_LIST = "--json and build/junit.xml have all of them"


def lines(report: Report, verb: str) -> Iterator[str]:
    """Yield what people want to know at the end: what was not done, the failures, the numbers, and
    what to do next."""
    cells = [Reason.of_cell(*row) for row in report.cells.items()]
    yield from reason_lines("left out ", cells, "--json has all of them")
    yield from reason_lines("skipped  ", _reasons(report, "skipped"), _WHOLE_LIST)
    yield from reason_lines("postponed", _reasons(report, "postponed"), _WHOLE_LIST)
    failures = [*report.in_state("failed")]
    for job, result in failures[:_MOST]:
        yield f"failed    {job}: {one_line(result.message)}"
        if result.remedy:
            yield f"          {result.remedy}"
        yield f"          {shlex.join(job.command)}"
    if len(failures) > _MOST:
        yield f"and {len(failures) - _MOST} more failed; --json and the JUnit file have all"
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items())
    end = "interrupted after" if report.is_interrupted else "in"
    number = len(report.results)
    total = f"{number} {'job' if number == 1 else 'jobs'} {end} {duration(report.seconds)}"
    yield f"{total}: {counts or 'nothing to do'}"
    if report.absent:
        compilations = number_of(len(report.absent), "compilation")
        yield f"build/    has no outputs of {compilations}, whose tests passed elsewhere or before"
        yield "          `envmatrix compile` makes them here, or fetches them"
    if report.is_interrupted:
        yield f"next      the same command goes on: `envmatrix {verb}` does no finished job again"
    elif failures:
        yield f"next      `envmatrix {verb} --rerun-failed`, or one of the commands above"


def _reasons(report: Report, state: JobState) -> Sequence[Reason]:
    return [Reason.of_job(job, result.message) for job, result in report.in_state(state)]


def report_document(report: Report) -> Mapping[str, object]:
    """Return the report as JSON has it."""
    return {
        "jobs": [_row(report.jobs[key], result) for key, result in report.results.items()],
        "counts": report.counts,
        "seconds": report.seconds,
        "left_out": [{"cell": cell, "reason": reason} for cell, reason in report.cells.items()],
        "interrupted": report.is_interrupted,
        "absent_outputs": [report.jobs[key].subject for key in report.jobs if key in report.absent],
    }


def _row(job: Job, result: JobResult) -> Mapping[str, object]:
    return {
        "id": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "state": result.state,
        "started": result.started,
        "seconds": result.seconds,
        "message": result.message,
        "error": result.error,
        "remedy": result.remedy,
        "tests": result.counts,
        "command": job.command,
    }
