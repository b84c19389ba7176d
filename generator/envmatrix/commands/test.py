"""`envmatrix test`: compile and test libraries in many cells."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.commands import options
from envmatrix.commands.job_verbs import JobArguments, run_verb


@click.command("test", epilog="Example: envmatrix test 'cuda13*' --library vectorops")
@options.jobs_of_cells
def command(**arguments: Unpack[JobArguments]) -> int:
    """Compile and test libraries in the named cells or in all, and run their steps, in parallel.

    Jobs that succeeded with the same inputs are not done again.
    """
    return run_verb("test", **arguments)
