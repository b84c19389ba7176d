"""Requirements of machines, and whether a place fulfils them."""

from __future__ import annotations

from collections.abc import Callable

from envmatrix.engine.gpu import NoGpu
from envmatrix.engine.tasks import Gpus
from envmatrix.images.model import runs_natively_on
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirement_rules import requirement_verdicts
from envmatrix.matrix.requirements import Requirement

# Returns how a place passes GPUs that fulfil a requirement, or why it does not.
Choice = Callable[[Requirement], Gpus | NoGpu]


def unmet(
    requirement: Requirement, library: Library, cell: Cell, matrix: Matrix, choose: Choice
) -> str | None:
    """Return why a place cannot run what has a requirement in a cell, or why no machine can; None
    if it can."""
    for verdict in requirement_verdicts(requirement, library, cell, matrix):
        if not verdict.passed:
            return f"needs {requirement}: {verdict.explanation}"
    if not runs_natively_on(cell, host_arch()):
        return f"needs {requirement}: programs of `{cell.id}` are emulated on this machine"
    gpus = choose(requirement)
    return None if isinstance(gpus, Gpus) else gpus.reason
