"""Runs a step of a library."""

from __future__ import annotations

from dataclasses import replace

from envmatrix.engine.tasks import Gpus
from envmatrix.matrix.library import LibraryStep, LibraryTest
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.frameworks.steps import StepCommands
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.testing import Testing, TestRequest, TestRun


def run_step(runner: Runner, step: LibraryStep, gpus: Gpus | None) -> TestRun:
    """Run the commands of a step, each a test; failures are in the result."""
    context = runner.context
    if step.image == "runtime" and context.runtime is None:
        raise Skipped(f"`{context.cell.id}` has no image to run programs in")
    tests = LibraryTest(
        "commands", step.commands, environment=step.environment, timeout=step.timeout
    )
    if step.after == "nothing":
        context = replace(context, step=step.name)
        with context.build.opened() as build:
            build.clear()
    context = replace(context, library=replace(context.library, test=tests))
    testing = Testing(replace(runner, context=context), tests, gpus, StepCommands(step))
    return testing.run(TestRequest())
