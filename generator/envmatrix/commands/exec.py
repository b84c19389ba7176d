"""`envmatrix exec`: a command in the container of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, Purpose
from envmatrix.commands import options
from envmatrix.commands.by_hand import run_for_one_library
from envmatrix.console import Console


@click.command(
    "exec", cls=options.Passing, epilog="Example: envmatrix exec cuda13-x86_64 -- nvcc --version"
)
@options.by_hand
def command(
    *,
    purpose: Purpose,
    has_gpu: bool,
    arguments: Sequence[str],
    console: Console,
    **cell: Unpack[CellArguments],
) -> int:
    """Run a command in the container that CELL compiles in, for a library: the first by default.

    Exits with the code of the command, which follows `--`.
    """
    if not arguments:
        raise click.UsageError("give the command behind `--`: envmatrix exec CELL -- COMMAND")
    return run_for_one_library(arguments, purpose, has_gpu, console, cell)
