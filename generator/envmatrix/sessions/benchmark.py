"""Measures a library with its benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from envmatrix.engine.tasks import Gpus
from envmatrix.errors import SKIPPED, ConfigurationError, Problem
from envmatrix.matrix.library import Library
from envmatrix.sessions import tasks
from envmatrix.sessions.context import BUILD
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import Measurement, measurements
from envmatrix.sessions.runner import Runner

# Why programs that do not run natively are not measured.
FOREIGN = "can be measured only on a machine of its own architecture"


def measure(runner: Runner, gpus: Gpus, arguments: Sequence[str]) -> tuple[Measurement, ...]:
    """Run the benchmark; Skipped where it does not find a GPU itself."""
    context = runner.context
    benchmark = context.library.benchmark
    if benchmark is None:
        raise ConfigurationError(no_benchmark(context.library))
    task = tasks.in_runtime(context, [f"{BUILD}/{benchmark.program}", *arguments])
    completed = runner.run(replace(task, gpus=gpus, keeps_stdout=True), "perf")
    if completed.status == SKIPPED:
        raise Skipped(f"the benchmark found no GPU: {' '.join(completed.lines[-1:])}")
    runner.check(completed)
    stdout = completed.result.stdout
    results = measurements(stdout)
    context.log("perf").with_suffix(".json").write_text(stdout, encoding="utf-8")
    return results


def no_benchmark(library: Library) -> Problem:
    """Return the problem that a library cannot be measured."""
    return Problem(f"library `{library.name}` has no `benchmark`", hint="name it in matrix.yaml")
