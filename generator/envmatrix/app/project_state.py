"""The state of a repository: what is there of what its tests need, and the next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

from envmatrix.app.images import plan_actions
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import EngineError, EnvmatrixError, OutOfDate, TooNew
from envmatrix.lock.lock_file import FILE
from envmatrix.matrix.files import MATRIX
from envmatrix.plan.actions import UNRECORDED
from envmatrix.records import dataclass
from envmatrix.results.location import Location
from envmatrix.text import number_of


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the state, its name and what is true of it. `step` is the command to run because of
    it, if there is one: those after it do not matter then."""

    name: str
    text: str
    step: str | None = None


def state_of(workspace: Workspace, today: date, console: Console) -> Iterator[Part]:
    """Yield the parts of the state, up to the first one that is missing."""
    for look in (_matrix, _lock, _images, _results):
        part = look(workspace, today, console)
        yield part
        if part.step:
            return


def _matrix(workspace: Workspace, _today: date, _console: Console) -> Part:
    matrix = workspace.matrix
    cells = number_of(len(matrix.cells), "cell")
    names = [library.name for library in matrix.libraries]
    if matrix.impossible:
        impossible = number_of(len(matrix.impossible), "more is", "more are")
        cells += f" ({impossible} impossible: see `envmatrix why`)"
    if not names:
        return Part("matrix", f"{cells}, no library: add one to {MATRIX}", "envmatrix build")
    return Part("matrix", f"{cells}, {number_of(len(names), 'library', 'libraries')}")


def _lock(workspace: Workspace, _today: date, _console: Console) -> Part:
    if not (workspace.root / FILE).exists():
        return Part("lock", "missing", "envmatrix lock")
    try:
        sets = number_of(len(workspace.lock.sets), "set")
    except TooNew as error:
        return Part("lock", error.message, error.hint)
    except OutOfDate as error:
        return Part("lock", f"out of date: {error.message}", "envmatrix lock")
    try:
        workspace.plan(workspace.images(()))
    except OutOfDate as error:
        return Part("lock", f"{sets}, but {error.message}", "envmatrix generate")
    return Part("lock", f"up to date, {sets} of packages")


def _images(workspace: Workspace, _today: date, console: Console) -> Part:
    try:
        actions = plan_actions(workspace, workspace.images(()), console, pull=False)
    except EngineError as error:
        return Part("images", error.message, "envmatrix doctor --fix")
    verbs = Counter(action.verb for action in actions)
    text = f"{verbs['reuse']} of {number_of(len(actions), 'image')} are in the engine"
    if unrecorded := sum(action.reason == UNRECORDED for action in actions):
        text += f", and {unrecorded} that this cache has no record of"
    return Part("images", f"{text}; a command makes what it needs" if verbs["build"] else text)


def _results(workspace: Workspace, today: date, console: Console) -> Part:
    nothing = Part("results", "nothing has run yet", "envmatrix test")
    if Location.of(workspace.root).is_empty:
        return nothing
    from envmatrix.app.reports import compose_report, scope_of  # SQLAlchemy

    try:
        report = compose_report(workspace, scope_of(workspace, (), (), None, today), console)
    except EnvmatrixError as error:
        return Part("results", f"{error.message}; {error.hint}", "envmatrix report")
    if not (report.entries or report.left_out or report.unreadable):
        return nothing
    states = Counter(entry.state for entry in report.entries)
    counts = [f"{count} {state}" for state, count in sorted(states.items())]
    counts += [f"{len(report.missing)} never ran"] if report.missing else []
    step = "envmatrix report" if report.bad else "envmatrix test" if report.missing else None
    return Part("results", ", ".join(counts) or "none that is valid", step)
