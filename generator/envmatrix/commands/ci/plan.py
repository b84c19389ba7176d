"""`envmatrix ci plan`: write the jobs that a CI engine runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from envmatrix.commands import display, options
from envmatrix.commands.ci.directory import pipeline_directory
from envmatrix.console import Console
from envmatrix.pipeline.model import Rerun, TriggerKind
from envmatrix.pipeline.triggers import ENGINES

if TYPE_CHECKING:
    from envmatrix.pipeline.triggers import Engine


@click.command("plan", epilog="Example: envmatrix ci plan --tier pr")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="The engine that runs the jobs; by default, the one that this runs in.",
)
@click.option(
    "--event",
    "kind",
    type=click.Choice(get_args(TriggerKind)),
    help="Why the jobs run; by default, what the engine says.",
)
@click.option("--base", metavar="REV", help="Only what changes since this git revision affect.")
@options.tier
@options.select
@options.library
@click.option(
    "--rerun",
    type=click.Choice(get_args(Rerun)),
    help="What runs: what has no good result, as always, or `all`.",
)
@pipeline_directory
@options.reporting
def command(
    *,
    engine: Engine | None,
    kind: TriggerKind | None,
    base: str | None,
    tier: str | None,
    patterns: Sequence[str],
    libraries: Sequence[str],
    rerun: Rerun | None,
    directory: Path | None,
    as_json: bool,
    console: Console,
) -> None:
    """Write the jobs of the matrix that a CI engine runs, to `plan.json` and as the engine reads
    them. What they are for is what the engine says, or an option."""
    from envmatrix.app.pipeline_files import PipelineFiles
    from envmatrix.app.pipeline_plan import Request, plan_for, read_trigger, write_plan
    from envmatrix.app.pipeline_translation import translate
    from envmatrix.app.workspace import Workspace
    from envmatrix.pipeline.model import document
    from envmatrix.pipeline.triggers import engine_of, ignored_inputs
    from envmatrix.render.pipeline import lines

    workspace, engine = Workspace.here(), engine or engine_of(os.environ)
    request = Request(kind, base, tier, tuple(patterns), tuple(libraries), rerun)
    trigger = read_trigger(engine, os.environ, request)
    if ignored := ignored_inputs(trigger, os.environ):
        kind_of_pipeline = trigger.kind.replace("_", " ")
        names = ", ".join(f"`${name}`" for name in ignored)
        console.warn(f"{names} has no effect in a pipeline of a {kind_of_pipeline}")
    directory = PipelineFiles.of(workspace, directory).directory
    pipeline = plan_for(workspace, engine, trigger, directory, console)
    write_plan(directory, pipeline)
    if engine:
        translate(pipeline, engine, workspace, directory, os.environ)
    rows = json.loads(document(pipeline)) if as_json else None
    display.show(rows, lines(pipeline), as_json=as_json, indent=None)
