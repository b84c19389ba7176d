"""`envmatrix status`, and `envmatrix` alone: the state of the repository, and the next step."""

from __future__ import annotations

import click

from envmatrix.app.project_state import state_of
from envmatrix.app.workspace import Workspace, nearest_repository
from envmatrix.commands import options
from envmatrix.console import Console, output
from envmatrix.matrix.files import MATRIX


@click.command(epilog="Example: envmatrix status")
def command() -> None:
    """Show what of the repository's matrix, lock, images and results is missing or out of date, and
    the next step. `envmatrix` without a verb shows the same."""
    show_state()


def show_state() -> None:
    """Print what is there of what tests need, and the command to go on with, if there is one."""
    root = nearest_repository()
    if root is None:
        output(f"there is no {MATRIX} here or above\nnext     envmatrix init")
        return
    step = None
    for part in state_of(Workspace(root), options.today(), Console()):
        output(f"{part.name:8} {part.text}")
        step = part.step
    if step:
        output(f"next     {step}")
