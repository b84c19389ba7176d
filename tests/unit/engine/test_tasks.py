"""Tasks, their limits, and what no executor runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor

from envmatrix.confined import Area
from envmatrix.engine.tasks import (
    Limits,
    Mount,
    OnOutput,
    Stop,
    Task,
    TaskResult,
    checked_key,
    key_of,
    run,
)
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
        run(executor, "key", task, lambda _stream, _printed: None)


def test_output_is_a_result_only_where_it_is_kept() -> None:
    executor = FakeExecutor(lambda _task, _on_output: TaskResult(0, "text"))
    for keeps_stdout, text in ((True, "text"), (False, "")):
        task = replace(TASK, keeps_stdout=keeps_stdout)
        assert run(executor, "key", task, lambda _stream, _printed: None).stdout == text


@pytest.mark.parametrize("error", [KeyboardInterrupt, EngineError, OSError])
def test_a_task_is_cancelled_on_any_error(error: type[BaseException]) -> None:
    def fail(_task: Task, _on_output: OnOutput) -> TaskResult:
        raise error("at this moment")

    executor = FakeExecutor(fail)
    with pytest.raises(error, match="at this moment"):
        run(executor, "key", TASK, lambda _stream, _printed: None)
    assert executor.cancelled == ["key"]


def test_a_task_that_ends_is_not_cancelled() -> None:
    executor = FakeExecutor()
    assert run(executor, "key", TASK, lambda _stream, _printed: None) == TaskResult(0)
    assert executor.cancelled == []


@pytest.mark.parametrize(
    "other",
    [
        ("job 2", 1, TASK),
        ("job", 2, TASK),
        ("job", 1, replace(TASK, image="other")),
        ("job", 1, replace(TASK, command=["true", ""])),
        ("job", 1, replace(TASK, environment={"A": "1"})),
        ("job", 1, replace(TASK, directory="/build")),
    ],
    ids=["job", "number", "image", "command", "environment", "directory"],
)
def test_tasks_that_differ_have_keys_of_their_own(other: tuple[str, int, Task]) -> None:
    assert key_of(*other) != key_of("job", 1, TASK)


def test_a_task_has_the_same_key_wherever_its_files_are(tmp_path: Path) -> None:
    key = key_of("job", 1, replace(TASK, command=["\udcff"], mounts=[Mount(tmp_path, "/src")]))
    assert key == key_of("job", 1, replace(TASK, command=["\udcff"]))
    assert checked_key(key) == key
