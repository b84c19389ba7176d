"""`envmatrix step`: run steps of libraries in many cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import click

from envmatrix.commands import options
from envmatrix.commands.completions import complete_step
from envmatrix.commands.job_verbs import JobArguments, run_verb


@click.command("step", epilog="Example: envmatrix step 'cuda13*' --step nvrtc")
@click.option(
    "--step",
    "steps",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_step,
    help="Only this step; may be given several times.",
)
@options.jobs_of_cells
def command(*, steps: Sequence[str], **arguments: Unpack[JobArguments]) -> int:
    """Run the steps of libraries in the named cells or in all, in parallel, and compile what they
    need. `envmatrix test` runs them as well.

    Jobs that succeeded with the same inputs are not done again.
    """
    return run_verb("step", steps, **arguments)
