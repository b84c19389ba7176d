"""Requirements of machines, and whether a place fulfils them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from envmatrix.app.selected_libraries import find_libraries
from envmatrix.app.workspace import Workspace
from envmatrix.engine.gpu import NoGpu
from envmatrix.engine.tasks import Gpus
from envmatrix.images.model import runs_natively_on
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirement_rules import impossible
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.selection import machines_of
from envmatrix.matrix.tier_names import TIERS

# Returns the machines that something of a library requires.
RequirementsOf = Callable[[Library], Sequence[Requirement | None]]
# Returns how a place passes GPUs that fulfil a requirement, or why it does not.
Choice = Callable[[Requirement], Gpus | NoGpu]


def unmet(
    requirement: Requirement, library: Library, cell: Cell, matrix: Matrix, choose: Choice
) -> str | None:
    """Return why a place cannot run what has a requirement in a cell, or why no machine can; None
    if it can."""
    is_native = runs_natively_on(cell, host_arch())
    if reason := impossible(requirement, library, cell, matrix, is_native=is_native):
        return reason
    if not requirement.gpus:
        return None
    gpus = choose(requirement)
    return None if isinstance(gpus, Gpus) else gpus.reason


def unmet_in_cell(
    workspace: Workspace,
    cell: str,
    libraries: Sequence[str],
    requirements_of: RequirementsOf,
    choose: Choice,
    unplaced: str | None = None,
) -> str | None:
    """Return why a place can run nothing of what the named libraries have in a cell, which can be
    told before images are built. What requires no machine runs on any, unless `unplaced` has a
    reason why not."""
    chosen, selected = find_libraries(workspace, cell, libraries)
    return unmet_everywhere(selected, chosen, workspace.matrix, requirements_of, choose, unplaced)


def unmet_everywhere(
    libraries: Sequence[Library],
    cell: Cell,
    matrix: Matrix,
    requirements_of: RequirementsOf,
    choose: Choice,
    unplaced: str | None = None,
) -> str | None:
    """Return why a place can run nothing of what libraries have in a cell; None if it can run any
    of it."""
    reasons: dict[str, None] = {}
    for library in libraries:
        machines = machines_of(requirements_of(library), cell, matrix, TIERS[-1])
        for requirement in machines or (None,):
            reason = unmet(requirement, library, cell, matrix, choose) if requirement else unplaced
            if reason is None:
                return None
            reasons[reason] = None
    return "; ".join(reasons) or None
