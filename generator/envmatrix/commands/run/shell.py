"""`envmatrix run shell`: a shell in the container that a cell compiles in."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.compilation import open_shell
from envmatrix.commands import options
from envmatrix.console import Console


@click.command("shell", epilog="Example: envmatrix run shell cuda12-aarch64")
@options.cell
def command(*, console: Console, **cell: Unpack[CellArguments]) -> int:
    """Open a shell in the container that CELL compiles in, for a library: the first by default."""
    if len(set(cell["libraries"])) > 1:
        raise click.UsageError("a shell is for one library; give --library once")
    return open_shell(open_session(console, only_compiler=True, **cell))
