from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor
from tests.unit.sessions.contexts import context_in

from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus, OnOutput, Task, TaskResult
from envmatrix.errors import SKIPPED, ConfigurationError, EnvmatrixError
from envmatrix.matrix.library import LibraryBenchmark
from envmatrix.sessions.benchmark import measure
from envmatrix.sessions.failures import Skipped, StepFailed
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.runner import Runner

ROW = {"name": "axpy", "value": 1.5, "unit": "GB/s", "direction": "higher"}


def runner_of(
    root: Path, result: TaskResult, output: str = "", names: Sequence[str] = ("b",)
) -> Runner:
    def program(_task: Task, on_output: OnOutput) -> TaskResult:
        on_output(1, output.encode())
        return result

    context = context_in(root)
    benchmarks = tuple(LibraryBenchmark(name, ("--json",)) for name in names)
    context = replace(context, library=replace(context.library, benchmark=benchmarks))
    return Runner(FakeExecutor(program), context, Console(-1))


def test_measurements_are_the_output_of_the_benchmark(tmp_path: Path) -> None:
    text = json.dumps({"measurements": [ROW]})
    runner = runner_of(tmp_path, TaskResult(0, text))
    assert measure(runner, Gpus(), ["--quick"]) == [Measurement("axpy", 1.5, "GB/s", "higher")]
    assert (runner.context.directory / "perf.json").read_text() == text


def test_a_benchmark_has_gpus_and_runs_without_compilers(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, TaskResult(0, json.dumps({"measurements": [ROW]})))
    measure(runner, Gpus("nvidia.com/gpu=0"), ["--quick"])
    assert isinstance(runner.executor, FakeExecutor)
    (task,) = runner.executor.tasks
    assert task.command == ["/build/b", "--json", "--quick"]
    assert (task.gpus, task.keeps_stdout) == (Gpus("nvidia.com/gpu=0"), True)
    assert task.image == runner.context.names[runner.context.runtime or runner.context.compiler]


def test_a_benchmark_that_finds_no_gpu_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="found no GPU: no device"):
        measure(runner_of(tmp_path, TaskResult(SKIPPED), "no device"), Gpus(), [])


def test_a_benchmark_that_fails_or_prints_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"perf of `lib` in `.*` failed with exit code 2"):
        measure(runner_of(tmp_path, TaskResult(2)), Gpus(), [])
    with pytest.raises(EnvmatrixError, match="the benchmark's output is no result"):
        measure(runner_of(tmp_path, TaskResult(0, "fast")), Gpus(), [])


def test_several_benchmarks_have_an_output_each(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, TaskResult(0, '{"measurements": []}'), names=("bin/a", "bin/b"))
    assert measure(runner, None, []) == []
    assert sorted(file.name for file in runner.context.directory.glob("*.json")) == [
        "perf-a.json",
        "perf-b.json",
    ]


def test_a_name_that_is_measured_twice_is_an_error(tmp_path: Path) -> None:
    result = TaskResult(0, json.dumps({"measurements": [ROW]}))
    with pytest.raises(EnvmatrixError, match="`axpy` is measured twice"):
        measure(runner_of(tmp_path, result, names=("a", "b")), Gpus(), [])


def test_a_library_without_a_benchmark_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="library `lib` has no `benchmark`"):
        measure(runner_of(tmp_path, TaskResult(0), names=()), Gpus(), [])
