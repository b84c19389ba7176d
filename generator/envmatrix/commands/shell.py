"""`envmatrix shell`: a shell in the container of a cell."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, Purpose
from envmatrix.commands import options
from envmatrix.commands.by_hand import run_for_one_library
from envmatrix.console import Console


@click.command("shell", epilog="Example: envmatrix shell cuda12-aarch64 --library vectorops")
@options.by_hand
def command(
    *, purpose: Purpose, has_gpu: bool, console: Console, **cell: Unpack[CellArguments]
) -> int:
    """Open a shell in the container that CELL compiles in, for a library: the first by default.

    It begins with the commands that configure, compile and test. Its history lasts.
    """
    return run_for_one_library((), purpose, has_gpu, console, cell)
