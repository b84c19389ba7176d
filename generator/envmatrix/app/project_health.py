"""Problems of the repository in which a command is called, for the doctor."""

from __future__ import annotations

from collections.abc import Callable

from envmatrix.app.workspace import Workspace, nearest_repository
from envmatrix.doctor.project_checks import ProjectFacts
from envmatrix.errors import EnvmatrixError, Problem
from envmatrix.facts.targets import TARGETS
from envmatrix.lock.files import LOCK
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Project:
    """A repository: its problems, and the machines, by Docker's names, and distributions that its
    matrix has."""

    facts: ProjectFacts
    machines: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()


def probe_project() -> Project | None:
    """Return the repository here; None without one."""
    try:
        root = nearest_repository()
        if root is None:
            return None
        workspace = Workspace(root)
        matrix = workspace.matrix
    except (EnvmatrixError, OSError) as error:
        return Project(ProjectFacts(matrix=_problem_of(error)))
    lock, generated = _lock_problem(workspace), None
    if lock is None:
        generated = _problem(lambda: workspace.plan(workspace.images(())))
    machines = (TARGETS[cell.arch].machine for cell in matrix.cells)
    systems = (matrix.facts.os[cell.os].distribution for cell in matrix.cells)
    return Project(
        ProjectFacts(lock=lock, generated=generated),
        tuple(dict.fromkeys(filter(None, machines))),
        tuple(dict.fromkeys(systems)),
    )


def _lock_problem(workspace: Workspace) -> Problem | None:
    if not (workspace.root / LOCK).exists():
        return Problem(f"there is no {LOCK}", hint="run `envmatrix lock`")
    return _problem(lambda: workspace.lock)


def _problem(read: Callable[[], object]) -> Problem | None:
    try:
        read()
    except (EnvmatrixError, OSError) as error:
        return _problem_of(error)
    return None


def _problem_of(error: EnvmatrixError | OSError) -> Problem:
    return error.problems[0] if isinstance(error, EnvmatrixError) else Problem(str(error))
