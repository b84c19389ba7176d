"""Run the steps of libraries in a cell."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import date

from envmatrix.app.cell_session import CellSession
from envmatrix.app.compilation import Compilation, compile_recorded
from envmatrix.app.library_runs import (
    Part,
    gpus_of,
    parts_on,
    require_machine,
    run_each_library,
)
from envmatrix.app.requirements import Choice, unmet_everywhere
from envmatrix.app.selected_libraries import find_libraries, require_steps
from envmatrix.app.testing import judge, placed
from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library, LibraryStep
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import steps_of
from envmatrix.matrix.tier_names import TIERS
from envmatrix.results.recorder import Recorder
from envmatrix.results.waivers import load_waivers
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.steps import run_step
from envmatrix.sessions.testing import TestRun

StepResult = Compilation | TestRun


def run_steps(
    session: CellSession, name: str, today: date, show: Callable[[StepResult], None]
) -> int:
    """Run the step of a name of each library that has it, compiled before where it needs that, and
    show the results; return the exit code."""
    libraries = _with_step(session.libraries, session.cell, session.workspace.matrix, name)
    waivers = load_waivers(session.workspace.root)

    def run(runner: Runner, recorder: Recorder) -> Iterator[StepResult]:
        step = runner.context.library.steps[name]
        require_machine(session, runner.context)
        if step.runs_on and runner.context.requirement is None:
            raise Skipped(f"`runs_on` of step `{name}` has no machine for `{session.cell.id}`")
        if step.after == "compile":
            yield from compile_recorded(runner, recorder)
        result = yield from step_recorded(session, step, runner, recorder)
        judge(result, runner, waivers, today)

    def parts(library: Library) -> Sequence[Part]:
        return parts_on(session, library.steps[name].runs_on, Part(step=name))

    session = replace(session, libraries=tuple(libraries))
    return run_each_library(session, "step", run, show, parts)


def unmet_step(
    workspace: Workspace, name: str, cell: str, libraries: Sequence[str], choose: Choice
) -> str | None:
    """Return why a place can run the step of no selected library in the cell, before an image is
    built for it. Raise ConfigurationError if none has the step."""
    matrix = workspace.matrix
    require_steps(matrix, [name])
    chosen, selected = find_libraries(workspace, cell, libraries)
    rows = _with_step(selected, chosen, matrix, name)
    return unmet_everywhere(rows, chosen, matrix, lambda row: row.steps[name].runs_on, choose)


def _with_step(
    libraries: Sequence[Library], cell: Cell, matrix: Matrix, name: str
) -> Sequence[Library]:
    """Return the libraries with a step of this name in a cell. Raise ConfigurationError if there is
    none."""
    rows = [
        library
        for library in libraries
        if any(step.name == name for step in steps_of(library, cell, matrix, TIERS[-1]))
    ]
    if not rows:
        message = f"no selected library has step `{name}` in `{cell.id}`"
        raise ConfigurationError(message, hint="its `cells` in matrix.yaml say where it is")
    return rows


def step_recorded(
    session: CellSession, step: LibraryStep, runner: Runner, recorder: Recorder
) -> Generator[TestRun, None, TestRun]:
    """Run and record a step of a library; yield the result."""
    context = runner.context
    gpus = gpus_of(session.place, context) if context.requirement else None
    run = run_step(runner, step, gpus)
    named = (replace(row, name=f"{step.name}: {row.name}") for row in run.outcomes)
    run = replace(run, outcomes=tuple(placed([*named], context)))
    recorder.add_tests(run.outcomes)
    yield run
    return run
