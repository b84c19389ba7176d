"""Steps of a library: their commands, directories, images and results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import FakeExecutor, Program, build_directory
from tests.unit.sessions.contexts import context_in

from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus, OnOutput, Task, TaskResult
from envmatrix.matrix.library import LibraryStep, LibraryTest
from envmatrix.matrix.requirements import Requirement
from envmatrix.sessions import tasks
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.steps import run_step

REPORT = b"<testsuite><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>"


def step(**keys: Any) -> LibraryStep:
    return LibraryStep(**{"name": "nvrtc", "commands": ("./one", "./two"), **keys})


def succeed(_task: Task, _on_output: OnOutput) -> TaskResult:
    return TaskResult(0)


def runner_in(root: Path, program: Program = succeed) -> tuple[Runner, FakeExecutor]:
    executor = FakeExecutor(program)
    return Runner(executor, context_in(root), Console(-1)), executor


def test_the_commands_run_in_order_each_with_a_log(tmp_path: Path) -> None:
    runner, executor = runner_in(tmp_path)
    run = run_step(runner, step(environment={"A": "b"}, timeout=7), Gpus())
    assert [task.command[-1] for task in executor.tasks] == ["./one", "./two"]
    assert [(row.name, row.state) for row in run.outcomes] == [
        ("./one", "passed"),
        ("./two", "passed"),
    ]
    assert all(task.environment["A"] == "b" for task in executor.tasks)
    assert {task.limits.seconds for task in executor.tasks} == {7}
    assert {task.gpus for task in executor.tasks} == {Gpus()}
    names = {file.name for file in runner.context.directory.iterdir()}
    assert {"nvrtc.log", "nvrtc.2.log", "nvrtc.xml"} <= names


@pytest.mark.parametrize(("image", "flavour"), [("devel", "devel"), ("runtime", "runtime")])
def test_a_step_runs_in_the_image_that_it_names(tmp_path: Path, image: str, flavour: str) -> None:
    runner, executor = runner_in(tmp_path)
    run_step(runner, step(image=image), None)
    assert all(flavour in task.image for task in executor.tasks)


def test_a_step_without_an_image_to_run_programs_in_is_skipped(tmp_path: Path) -> None:
    runner, _ = runner_in(tmp_path)
    runner = replace(runner, context=replace(runner.context, runtime=None))
    with pytest.raises(Skipped):
        run_step(runner, step(image="runtime"), None)


def test_a_step_after_nothing_begins_with_an_empty_directory_of_its_own(tmp_path: Path) -> None:
    def leave(task: Task, _on_output: OnOutput) -> TaskResult:
        with build_directory(task).opened() as build:
            were_empty.append(not build.files(["*"]))
            build.write("page.html", b"")
        return TaskResult(0)

    were_empty: list[bool] = []
    runner, executor = runner_in(tmp_path, leave)
    with runner.context.build.opened() as build:
        build.write("CMakeCache.txt", b"")
    docs = step(name="docs", commands=("make docs",), after="nothing")
    for _ in range(2):
        run_step(runner, docs, None)
    assert were_empty == [True, True]
    assert build_directory(executor.tasks[0]).name == "devel-docs"
    assert executor.tasks[0].directory == "/src"
    with runner.context.build.opened() as build:
        assert [entry.name for entry in build.files(["*"])] == ["CMakeCache.txt"]


def test_the_last_command_may_report_its_tests(tmp_path: Path) -> None:
    def report(task: Task, _on_output: OnOutput) -> TaskResult:
        if task.command[-1] == "./two":
            with build_directory(task).opened() as build:
                build.write("out/a.xml", REPORT)
        return TaskResult(0)

    runner, _ = runner_in(tmp_path, report)
    run = run_step(runner, step(junit="out/*.xml"), None)
    assert [(row.name, row.state) for row in run.outcomes] == [
        ("./one", "passed"),
        ("a", "passed"),
        ("b", "failed"),
    ]
    assert "nvrtc.2.log" in str(run.failure and run.failure.hint)


def test_a_report_that_the_last_command_does_not_write_is_an_error(tmp_path: Path) -> None:
    runner, _ = runner_in(tmp_path)
    run = run_step(runner, step(junit="out/*.xml"), None)
    assert [row.state for row in run.outcomes] == ["passed", "errored"]
    assert "wrote no JUnit file" in str(run.failure)


@pytest.mark.parametrize(
    ("compat", "path"), [("off", "/usr/local/cuda/lib64"), ("on", None), (None, None)]
)
def test_tests_run_without_forward_compatibility_where_they_say_so(
    tmp_path: Path, compat: Any, path: str | None
) -> None:
    context = replace(context_in(tmp_path), requirement=Requirement(compat=compat))
    assert tasks.in_runtime(context, ["true"]).environment.get("LD_LIBRARY_PATH") == path


def test_the_logs_of_a_machine_are_its_own_but_not_those_of_compiling(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    context = replace(context, requirement=Requirement(gpu=("h100",)))
    assert context.log("test").name == "test-on-h100.log"
    assert context.log("compile").name == "compile.log"
    assert context.junit.name == "junit-on-h100.xml"


def test_the_tests_of_a_library_are_not_those_of_its_step(tmp_path: Path) -> None:
    runner, executor = runner_in(tmp_path)
    tests = LibraryTest("ctest", environment={"OF_TESTS": "1"}, retries=3)
    library = replace(runner.context.library, test=tests)
    runner = replace(runner, context=replace(runner.context, library=library))
    run_step(runner, step(image="runtime"), None)
    assert all("OF_TESTS" not in task.environment for task in executor.tasks)
