"""`envmatrix` alone: the state of the repository, and the next step."""

from __future__ import annotations

from envmatrix.app.project_state import state_of
from envmatrix.app.workspace import Workspace, nearest_repository
from envmatrix.commands import options
from envmatrix.console import Console, output
from envmatrix.matrix.files import MATRIX

_DONE = "envmatrix test"


def show_state() -> None:
    """Print what is there of what tests need, and the command to go on with."""
    root = nearest_repository()
    if root is None:
        output(f"there is no {MATRIX} here or above\nnext     envmatrix init")
        return
    step = None
    for part in state_of(Workspace(root), options.today(), Console()):
        output(f"{part.name:8} {part.text}")
        step = part.step
    output(f"next     {step or _DONE}")
