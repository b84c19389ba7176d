"""What the verbs that people work with by hand have in common."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.by_hand import run_by_hand
from envmatrix.app.cell_session import CellArguments, Purpose, open_session
from envmatrix.app.places import THIS_MACHINE
from envmatrix.console import Console
from envmatrix.engine.gpu import NoGpu
from envmatrix.errors import EnvmatrixError


def run_for_one_library(
    command: Sequence[str], purpose: Purpose, has_gpu: bool, console: Console, cell: CellArguments
) -> int:
    """Run a command, or a shell without one, in the container of a cell; return its exit code."""
    if len(set(cell["libraries"])) > 1:
        raise click.UsageError("this is for one library; give --library once")
    gpu = THIS_MACHINE.choose_gpu() if has_gpu else None
    if isinstance(gpu, NoGpu):
        raise EnvmatrixError(f"there is no GPU to pass: {gpu.reason}", hint="leave out --gpu")
    session = open_session(console, purpose, only_first=True, **cell)
    if purpose == "runtime" and session.runtime is None:
        raise EnvmatrixError(f"programs of `{session.cell.id}` do not run in a container")
    return run_by_hand(session, command, purpose, gpus=gpu)
