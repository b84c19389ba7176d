"""Tasks, their limits, and what no executor runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor

from envmatrix.confined import Area
from envmatrix.engine.tasks import Limits, Mount, Stop, Task, TaskResult
from envmatrix.errors import EngineError

TASK = Task("image", "linux/amd64", ["true"], [])


@pytest.mark.parametrize(
    ("limits", "seconds", "free", "stop"),
    [
        (Limits(), 1e9, 0, None),
        (Limits(seconds=5), 5, 0, None),
        (Limits(seconds=5), 5.1, 0, "timeout"),
        (Limits(free_disk=100), 1e9, 99, "disk"),
        (Limits(free_disk=100), 1e9, 100, None),
        (Limits(seconds=5, free_disk=100), 6, 99, "timeout"),
    ],
)
def test_a_limit_is_exceeded_beyond_it(
    limits: Limits, seconds: float, free: float, stop: Stop | None
) -> None:
    assert limits.exceeded(seconds, free) == stop


def test_outputs_are_the_areas_that_are_mounted(tmp_path: Path) -> None:
    area = Area(tmp_path)
    task = replace(TASK, mounts=[Mount(tmp_path, "/src"), Mount(area, "/build")])
    assert task.outputs == (area,)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (replace(TASK, command=[]), "no command"),
        (replace(TASK, command=["a\0b"]), "a null byte"),
        (replace(TASK, command=["x" * 131_072]), "argument list too long"),
        (replace(TASK, environment={"A": "x" * 131_072}), "argument list too long"),
        (replace(TASK, directory="build"), "not absolute"),
        (replace(TASK, mounts=[Mount(Path("/nowhere"), "/src")]), "does not exist: /nowhere"),
        (replace(TASK, mounts=[Mount(Path("/"), "/src")] * 2), "duplicate mount point"),
    ],
    ids=["command", "null", "argument", "variable", "directory", "source", "twice"],
)
def test_no_executor_runs_a_task_that_no_engine_runs(task: Task, reason: str) -> None:
    executor = FakeExecutor()
    with pytest.raises(EngineError, match=f"no container of `image` can be made: .*{reason}"):
        executor.run(task, lambda _stream, _printed: None)


def test_output_is_a_result_only_where_it_is_kept() -> None:
    executor = FakeExecutor(lambda _task, _on_output: TaskResult(0, "text"))
    for keeps_stdout, text in ((True, "text"), (False, "")):
        task = replace(TASK, keeps_stdout=keeps_stdout)
        assert executor.run(task, lambda _stream, _printed: None).stdout == text
