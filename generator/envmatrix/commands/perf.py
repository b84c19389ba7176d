"""`envmatrix perf`: measure libraries in many cells."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.commands import options
from envmatrix.commands.job_verbs import JobArguments, run_verb


@click.command("perf", epilog="Example: envmatrix perf 'cuda13*' --library vectorops")
@options.jobs_of_cells
def command(**arguments: Unpack[JobArguments]) -> int:
    """Compile libraries in the named cells or in all, and run their benchmarks with a GPU, one at
    a time; without a GPU, exit with 77 and say what is missing.

    Every call measures again. `envmatrix run perf CELL` passes arguments to a benchmark.
    """
    return run_verb("perf", **arguments)
