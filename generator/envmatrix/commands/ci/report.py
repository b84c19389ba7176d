"""`envmatrix ci report`: judge a pipeline, and store and publish its results."""

from __future__ import annotations

from pathlib import Path

import click

from envmatrix.commands import display, options
from envmatrix.commands.ci.directory import pipeline_directory
from envmatrix.console import Console


@click.command("report", epilog="Example: envmatrix ci report")
@pipeline_directory
@options.reporting
def command(*, directory: Path | None, as_json: bool, console: Console) -> int:
    """Say what became of the jobs of the plan, by what they left in `jobs` beside it.

    The runs are stored as those of this checkout; `summary.md`, `junit.xml` and `findings.sarif`
    are written. The exit code is 1 unless every job that was to do has a good outcome of this plan:
    a job that is missing or cancelled, or was skipped without a reason, is a failure. It is 4 if
    the plan is of another revision than this checkout.
    """
    from envmatrix.app.pipeline_files import PipelineFiles
    from envmatrix.app.pipeline_report import report_pipeline
    from envmatrix.app.workspace import Workspace
    from envmatrix.pipeline.summary import document, lines

    workspace = Workspace.here()
    files = PipelineFiles.of(workspace, directory)
    report = report_pipeline(workspace, files, console.warn)
    judged = report.verdict
    display.show(document(judged, report.coverage), lines(report.pipeline, judged), as_json=as_json)
    return 0 if judged.is_good else 1
