"""Explanations of what a matrix and its lock have: cells, impossible cells, and packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.lock.files import LOCK
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirement_rules import requirement_verdicts
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.selection import (
    Explanation,
    LibraryExplanation,
    Presence,
    candidates_named,
    explain,
    machines_of,
    presence_of,
    refusal,
    short_names,
)
from envmatrix.matrix.tier_names import TIERS
from envmatrix.records import dataclass
from envmatrix.suggestions import did_you_mean
from envmatrix.text import one_line

if TYPE_CHECKING:
    from envmatrix.plan.package_reasons import Membership


# Characters of names that may mean several cells.
_SEVERAL = frozenset("*?[,")


@dataclass(frozen=True, slots=True)
class PackageExplanation:
    """A package of the lock, and the sets that contain it."""

    package: str
    memberships: tuple[Membership, ...]


@dataclass(frozen=True, slots=True)
class MachineExplanation:
    """What a library requires of a machine in a cell, for its tests, its benchmark or a step: the
    verdicts of rules, and why this machine does not have it; None if it does."""

    purpose: str
    requirement: Requirement
    verdicts: tuple[Verdict, ...]
    unmet: str | None


def explain_machines(matrix: Matrix, row: LibraryExplanation) -> Iterator[MachineExplanation]:
    """Yield what a library in a cell requires of machines."""
    if not row.library.requirements:
        return
    from envmatrix.app.places import THIS_MACHINE
    from envmatrix.app.requirements import unmet

    for keys, requirements in row.library.requirements.items() if row.present else ():
        for requirement in machines_of(requirements, row.cell, matrix, TIERS[-1]):
            if requirement is None:
                continue
            verdicts = tuple(requirement_verdicts(requirement, row.library, row.cell, matrix))
            reason = unmet(requirement, row.library, row.cell, matrix, THIS_MACHINE.choose_gpu)
            purpose = f"step {keys[-1]}" if keys[0] == "steps" else str(keys[0])
            yield MachineExplanation(purpose, requirement, verdicts, reason)


def explain_impossible(workspace: Workspace) -> Iterator[Presence]:
    """Yield why each cell that a compatibility rule leaves out is not in the matrix."""
    matrix = workspace.matrix
    return (presence_of(matrix, exclusion.cell) for exclusion in matrix.impossible)


def explain_name(workspace: Workspace, name: str) -> Explanation | PackageExplanation | None:
    """Return the explanation of the cell or the locked package of a name; None for a name of
    several cells. Raise ConfigurationError for a name of neither; one of both is a cell."""
    if _SEVERAL.isdisjoint(name):
        cells = candidates_named(workspace.matrix, name)
        if not cells:
            return _explain_package(workspace, name)
        if not cells[1:]:
            return explain(workspace.matrix, cells[0])
    return None


def explain_names(
    workspace: Workspace, names: Sequence[str]
) -> Iterator[Presence | PackageExplanation]:
    """Yield the presence of each cell that names and globs mean, and the explanation of each locked
    package, as `explain_name` does."""
    matrix = workspace.matrix
    for name in (part.strip() for text in names for part in text.split(",")):
        cells = candidates_named(matrix, name)
        yield from (presence_of(matrix, cell) for cell in cells)
        if not cells:
            yield _explain_package(workspace, name)


def _explain_package(workspace: Workspace, name: str) -> PackageExplanation:
    """Return the explanation of a package of the lock, which may be out of date with the matrix."""
    matrix = workspace.matrix
    if not (workspace.root / LOCK).exists():
        raise ConfigurationError(refusal(matrix, name))
    from envmatrix.lock.lock_file import load  # not for cells, which need no lock
    from envmatrix.plan.package_reasons import memberships

    lock = load(workspace.root, allow_incomplete=True)
    rows = memberships(name, lock, matrix, workspace.recipes)
    if rows:
        return PackageExplanation(name, rows)
    message = f"there is no cell and no locked package `{one_line(name)}`"
    cells = (*matrix.by_id, *short_names(matrix))
    packages = dict.fromkeys(item.name for item in lock.artifacts())
    hint = did_you_mean(name, cells) or did_you_mean(name, packages) or refusal(matrix, name).hint
    raise ConfigurationError(Problem(message, hint=hint))
