"""Measures a library with its benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from envmatrix.engine.tasks import Gpus
from envmatrix.errors import SKIPPED, ConfigurationError, EnvmatrixError, Problem
from envmatrix.matrix.library import Library, LibraryBenchmark
from envmatrix.sessions import tasks
from envmatrix.sessions.benchmark_formats import read_measurements
from envmatrix.sessions.context import BUILD
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.runner import Runner
from envmatrix.text import one_line

# Why programs that do not run natively are not measured.
FOREIGN = "can be measured only on a machine of its own architecture"


def measure(runner: Runner, gpus: Gpus | None, arguments: Sequence[str]) -> Sequence[Measurement]:
    """Run the benchmarks for the machine of a runner; Skipped where one does not find a GPU
    itself."""
    context = runner.context
    benchmarks = context.library.benchmarks_on(context.requirement)
    if not benchmarks:
        raise ConfigurationError(no_benchmark(context.library))
    results: dict[str, Measurement] = {}
    for benchmark in benchmarks:
        name = "perf" if len(benchmarks) == 1 else f"perf-{PurePosixPath(benchmark.program).name}"
        for row in _measure(runner, benchmark, gpus, arguments, name):
            if row.name in results:
                message = f"`{one_line(row.name)}` is measured twice"
                raise EnvmatrixError(message, hint="give each measurement a name of its own")
            results[row.name] = row
    return [*results.values()]


def _measure(
    runner: Runner,
    benchmark: LibraryBenchmark,
    gpus: Gpus | None,
    arguments: Sequence[str],
    name: str,
) -> Sequence[Measurement]:
    task = tasks.in_runtime(
        runner.context, [f"{BUILD}/{benchmark.program}", *benchmark.options, *arguments]
    )
    completed = runner.run(replace(task, gpus=gpus, keeps_stdout=True), name)
    if completed.status == SKIPPED:
        raise Skipped(f"the benchmark found no GPU: {' '.join(completed.lines[-1:])}")
    runner.check(completed)
    stdout = completed.result.stdout
    results = read_measurements(stdout)
    runner.context.log(name).with_suffix(".json").write_text(stdout, encoding="utf-8")
    return results


def no_benchmark(library: Library) -> Problem:
    """Return the problem that a library cannot be measured."""
    return Problem(f"library `{library.name}` has no `benchmark`", hint="name it in matrix.yaml")
