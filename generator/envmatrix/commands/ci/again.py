"""`envmatrix ci again`: the jobs of a pipeline that are worth a second attempt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envmatrix.commands import display, options
from envmatrix.commands.ci.directory import pipeline_directory
from envmatrix.console import Console
from envmatrix.pipeline.model import STAGES
from envmatrix.text import one_line

if TYPE_CHECKING:
    from envmatrix.pipeline.model import Stage


@click.command("again", epilog="Example: envmatrix ci again")
@click.option("--stage", type=click.Choice(STAGES), help="Only jobs of this stage.")
@pipeline_directory
@options.reporting
def command(
    *,
    stage: Stage | None,
    directory: Path | None,
    as_json: bool,
    console: Console,  # noqa: ARG001
) -> None:
    """Name the jobs that the infrastructure failed for the first time, and those that wait for
    them, in the order in which they can run."""
    from envmatrix.app.pipeline_files import PipelineFiles
    from envmatrix.app.pipeline_translation import translate_again
    from envmatrix.app.workspace import Workspace
    from envmatrix.pipeline.triggers import engine_of
    from envmatrix.pipeline.verdict import worth_another

    files = PipelineFiles.of(Workspace.here(), directory)
    worth = worth_another(files.pipeline, files.digest, files.evidence)
    jobs = [job for job in worth if stage in (None, job.stage)]
    translate_again(files.pipeline, jobs, engine_of(os.environ), os.environ)
    rows = [{"id": job.id, "name": job.name} for job in jobs]
    lines = (f"again     {one_line(job.name)}" for job in jobs)
    display.show(rows, lines if jobs else ["no job is worth a second attempt"], as_json=as_json)
