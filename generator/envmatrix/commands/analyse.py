"""`envmatrix analyse`: analyse libraries in many cells."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.commands import options
from envmatrix.commands.job_verbs import JobArguments, run_verb


@click.command("analyse", epilog="Example: envmatrix analyse --library vectorops")
@options.jobs_of_cells
def command(**arguments: Unpack[JobArguments]) -> int:
    """Examine libraries in the named cells or in all, in parallel; fail if a finding is new.

    `envmatrix run analyse CELL` runs single kinds of analysis, and accepts findings.
    """
    return run_verb("analyse", **arguments)
