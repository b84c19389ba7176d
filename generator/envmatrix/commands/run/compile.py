"""`envmatrix run compile`: compile libraries in a cell."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.compilation import compile_recorded
from envmatrix.app.library_runs import run_each_library
from envmatrix.commands import options
from envmatrix.commands.display import show_products
from envmatrix.console import Console


@click.command("compile", epilog="Example: envmatrix run compile cuda12-aarch64")
@options.cell
def command(*, console: Console, **cell: Unpack[CellArguments]) -> int:
    """Compile in CELL, and show each product with its path."""
    session = open_session(console, "compiler", **cell)
    return run_each_library(session, "compile", compile_recorded, show_products)
