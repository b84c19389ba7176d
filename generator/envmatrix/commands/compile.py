"""`envmatrix compile`: compile libraries in many cells."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.commands import options
from envmatrix.commands.job_verbs import JobArguments, run_verb


@click.command("compile", epilog="Example: envmatrix compile --tier pr -j 2")
@options.jobs_of_cells
def command(**arguments: Unpack[JobArguments]) -> int:
    """Compile libraries in the named cells or in all, in parallel.

    What was compiled from the same inputs, and is in its build directory, is not compiled again.
    """
    return run_verb("compile", **arguments)
