"""Measures a library with its benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.engine.tasks import Gpus
from envmatrix.errors import SKIPPED, ConfigurationError, Problem
from envmatrix.sessions import tasks
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import Measurement, measurements
from envmatrix.sessions.runner import Runner


def measure(runner: Runner, gpus: Gpus, arguments: Sequence[str]) -> tuple[Measurement, ...]:
    """Run the benchmark; Skipped where it does not find a GPU itself."""
    context = runner.context
    if context.library.benchmark is None:
        raise ConfigurationError(
            Problem(
                f"library `{context.library.name}` has no `benchmark`",
                hint="name it in matrix.yaml",
            )
        )
    completed = runner.run(tasks.benchmark(context, gpus, arguments), "perf")
    if completed.status == SKIPPED:
        raise Skipped(f"the benchmark found no GPU: {' '.join(completed.lines[-1:])}")
    runner.check(completed)
    stdout = completed.result.stdout
    results = measurements(stdout)
    (context.directory / "perf.json").write_text(stdout, encoding="utf-8")
    return results
