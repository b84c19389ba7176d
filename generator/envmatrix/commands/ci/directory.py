"""The option for the directory of a pipeline."""

from __future__ import annotations

from pathlib import Path

import click

from envmatrix.matrix.files import BUILD_ROOT

pipeline_directory = click.option(
    "--output",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"The directory of the plan and of its jobs, by default `{BUILD_ROOT}/ci`.",
)
