"""`envmatrix ci run`: do one job of a pipeline on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from envmatrix.commands import options
from envmatrix.commands.ci.directory import pipeline_directory
from envmatrix.console import Console, output
from envmatrix.pipeline.outcomes import MOST_ATTEMPTS, TEMPORARY_FAILURE
from envmatrix.text import duration, one_line


@click.command("run", epilog="Example: envmatrix ci run $ID")
@click.argument("key", metavar="ID")
@click.option(
    "--attempt",
    type=click.IntRange(1, MOST_ATTEMPTS),
    default=1,
    show_default=True,
    help="Which attempt at the job this is.",
)
@pipeline_directory
@options.verbosity
def command(*, key: str, attempt: int, directory: Path | None, console: Console) -> int:
    """Do one job of the plan, with what the jobs that it needs left in `jobs` beside the plan.

    Its outcome, record, outputs, journals and logs are in `jobs/ID` afterwards. The exit code is 0
    if the result is good, 1 if the job failed, and 75 if the infrastructure did, so that a second
    attempt on another machine may help; 2 and 4 say that the plan does not fit. A job that the plan
    reuses or skips is not done, and leaves no outcome: the plan has the reason.
    """
    from envmatrix.app.job_progress import JobProgress
    from envmatrix.app.pipeline_files import PipelineFiles
    from envmatrix.app.pipeline_run import run_job
    from envmatrix.app.pipeline_work import RunOptions
    from envmatrix.app.workspace import Workspace
    from envmatrix.pipeline.summary import coverage_line

    workspace = Workspace.here()
    files = PipelineFiles.of(workspace, directory)
    job = files.job(key)
    if job.prospect != "to do":
        output(f"{job.prospect:9} {one_line(job.name)}: {one_line(job.reason)}")
        return 0
    with console.display() as display:
        chosen = RunOptions(
            attempt,
            options.today(),
            console,
            lambda execution: JobProgress(console, display, execution),
        )
        outcome = run_job(workspace, files, key, chosen)
    reason = f": {one_line(outcome.message)}" if outcome.message else ""
    if job.kind == "analyse":
        from envmatrix.app.pipeline_report import coverage_of

        if (percent := coverage_of(files, job)) is not None:
            output(coverage_line(percent))
    output(f"{outcome.state:9} {one_line(job.name)} in {duration(outcome.seconds)}{reason}")
    if outcome.state == "infrastructure":
        return TEMPORARY_FAILURE
    if outcome.state == "failed":
        output(f"          {one_line(shlex.join(job.command))}")
        return 1
    return 0
