"""`envmatrix run shell`: the same as `envmatrix shell`."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, Purpose
from envmatrix.commands import options
from envmatrix.commands.by_hand import run_for_one_library
from envmatrix.console import Console


@click.command("shell", epilog="Example: envmatrix run shell cuda12-aarch64")
@options.by_hand
def command(
    *, purpose: Purpose, has_gpu: bool, console: Console, **cell: Unpack[CellArguments]
) -> int:
    """Open a shell in the container that CELL compiles in, as `envmatrix shell` does."""
    return run_for_one_library((), purpose, has_gpu, console, cell)
