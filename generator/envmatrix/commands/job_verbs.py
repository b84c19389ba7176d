"""What the verbs that run jobs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from envmatrix.commands import display, options
from envmatrix.console import Console
from envmatrix.errors import INTERRUPTED, SKIPPED

if TYPE_CHECKING:
    from envmatrix.app.job_runs import Rerun
    from envmatrix.jobs.budget import Budget
    from envmatrix.jobs.model import Verb


class JobArguments(TypedDict):
    """The arguments of verbs that run jobs."""

    patterns: Sequence[str]
    tier: str | None
    libraries: Sequence[str]
    since: str | None
    most: int | None
    fails_fast: bool
    rerun: Rerun
    checked: float
    budget: Budget
    place: str | None
    timeline: Path | None
    as_json: bool
    console: Console


def run_verb(verb: Verb, steps: Sequence[str] = (), **arguments: Unpack[JobArguments]) -> int:
    """Run the jobs of a verb, show their progress and what became of them; return the exit code."""
    # 0.2 s that help and completion never pay.
    from envmatrix.app.job_plan import JobSelection
    from envmatrix.app.job_progress import JobProgress
    from envmatrix.app.job_runs import JobOptions, run_jobs
    from envmatrix.app.workspace import Workspace
    from envmatrix.files import write_whole
    from envmatrix.render.job_report import lines, report_document
    from envmatrix.render.timeline import timeline

    console, as_json = arguments["console"], arguments["as_json"]
    selection = JobSelection(
        verb,
        arguments["patterns"],
        arguments["tier"],
        arguments["libraries"],
        arguments["since"],
        steps=steps,
    )
    chosen = JobOptions(
        arguments["most"],
        arguments["fails_fast"],
        arguments["rerun"],
        arguments["checked"],
        arguments["budget"],
        arguments["place"],
    )
    with console.display() as lines_of_jobs:
        report = run_jobs(
            Workspace.here(),
            selection,
            chosen,
            options.today(),
            console,
            lambda execution: JobProgress(console, lines_of_jobs, execution),
        )
    if arguments["timeline"]:
        picture = "".join(f"{line}\n" for line in timeline(report))
        write_whole(arguments["timeline"], picture.encode())
    display.show(report_document(report) if as_json else None, lines(report, verb), as_json=as_json)
    if report.is_interrupted:
        return INTERRUPTED
    if report.is_bad:
        return 1
    return SKIPPED if report.is_skipped else 0
