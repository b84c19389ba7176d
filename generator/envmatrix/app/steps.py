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
from envmatrix.app.testing import judge, placed
from envmatrix.errors import ConfigurationError
from envmatrix.matrix.library import Library, LibraryStep
from envmatrix.matrix.selection import steps_of
from envmatrix.matrix.tier_names import TIERS
from envmatrix.results.recorder import Recorder
from envmatrix.results.waivers import load_waivers
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.steps import run_step
from envmatrix.sessions.testing import TestRun

StepResult = Compilation | TestRun


def run_steps(
    session: CellSession, name: str, today: date, show: Callable[[StepResult], None]
) -> int:
    """Run the step of a name of each library that has it, compiled before where it needs that, and
    show the results; return the exit code."""
    libraries = [library for library in session.libraries if _step(session, library, name)]
    if not libraries:
        message = f"no selected library has step `{name}` in `{session.cell.id}`"
        raise ConfigurationError(message, hint="its `cells` in matrix.yaml say where it is")
    waivers = load_waivers(session.workspace.root)

    def run(runner: Runner, recorder: Recorder) -> Iterator[StepResult]:
        step = runner.context.library.steps[name]
        require_machine(session, runner.context)
        if step.after == "compile":
            yield from compile_recorded(runner, recorder)
        result = yield from step_recorded(session, step, runner, recorder)
        judge(result, runner, waivers, today)

    def parts(library: Library) -> Sequence[Part]:
        return parts_on(session, library.steps[name].runs_on, Part(step=name))

    session = replace(session, libraries=tuple(libraries))
    return run_each_library(session, "step", run, show, parts)


def _step(session: CellSession, library: Library, name: str) -> LibraryStep | None:
    """Return the step of a name that a library has in a cell."""
    steps = steps_of(library, session.cell, session.workspace.matrix, TIERS[-1])
    return next((step for step in steps if step.name == name), None)


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
