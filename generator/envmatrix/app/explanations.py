"""Explanations of what a matrix and its lock have: cells, impossible cells, and packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.lock.files import LOCK
from envmatrix.matrix.selection import (
    Explanation,
    candidates_named,
    explain,
    refusal,
    short_names,
)
from envmatrix.records import dataclass
from envmatrix.suggestions import did_you_mean
from envmatrix.text import one_line

if TYPE_CHECKING:
    from envmatrix.plan.package_reasons import Membership


@dataclass(frozen=True, slots=True)
class PackageExplanation:
    """A package of the lock, and the sets that contain it."""

    package: str
    memberships: tuple[Membership, ...]


def explain_impossible(workspace: Workspace) -> Iterator[Explanation]:
    """Yield why each cell of the axes that is not possible is not."""
    matrix = workspace.matrix
    return (explain(matrix, exclusion.cell) for exclusion in matrix.impossible)


def explain_names(
    workspace: Workspace, names: Sequence[str]
) -> Iterator[Explanation | PackageExplanation]:
    """Yield the explanations of cells, by names or globs, and of locked packages. Raise
    ConfigurationError for a name of neither; one of both is a cell."""
    matrix = workspace.matrix
    for name in (part.strip() for text in names for part in text.split(",")):
        cells = candidates_named(matrix, name)
        if cells:
            yield from (explain(matrix, cell) for cell in cells)
        else:
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
