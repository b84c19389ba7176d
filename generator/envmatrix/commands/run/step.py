"""`envmatrix run step`: run a step of libraries in a cell."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.compilation import Compilation
from envmatrix.app.library_runs import skip
from envmatrix.app.places import THIS_MACHINE
from envmatrix.app.steps import StepResult, run_steps, unmet_step
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.commands.completions import complete_step
from envmatrix.commands.display import show_products
from envmatrix.commands.outcomes import show_outcomes
from envmatrix.console import Console


@click.command("step", epilog="Example: envmatrix run step nvrtc cuda13-x86_64")
@click.argument("step", metavar="NAME", shell_complete=complete_step)
@options.cell
def command(*, step: str, console: Console, **cell: Unpack[CellArguments]) -> int:
    """Run the step NAME of libraries in CELL, as `steps` in matrix.yaml has it; compile before
    that, unless it needs no compilation."""

    def show(result: StepResult) -> None:
        if isinstance(result, Compilation):
            show_products(result)
        else:
            show_outcomes(result)

    workspace, choose = Workspace.here(), THIS_MACHINE.choose_gpu
    if reason := unmet_step(workspace, step, cell["name"], cell["libraries"], choose):
        return skip(reason)
    return run_steps(open_session(console, **cell), step, options.today(), show)
