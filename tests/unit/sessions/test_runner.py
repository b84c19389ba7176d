"""What a run leaves in the directories that its containers write to, and what is said of a step
that failed."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import FakeExecutor, Program, build_directory
from tests.unit.sessions.contexts import build_context, context_in

from envmatrix.console import Console
from envmatrix.engine.tasks import OnOutput, Task, TaskResult
from envmatrix.errors import SKIPPED, EngineError
from envmatrix.images.model import images_of
from envmatrix.sessions import tasks
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import StepFailed, step_hint
from envmatrix.sessions.outcomes import Step
from envmatrix.sessions.runner import Runner, clear_privileges


@pytest.fixture
def context(tmp_path: Path) -> BuildContext:
    return replace(build_context(), root=tmp_path / "repository", caches=tmp_path / "caches")


def program(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "program"
    file.touch()
    file.chmod(0o6755)
    return file


def test_no_setuid_program_is_left_in_a_build_directory_or_the_compiler_cache(
    context: BuildContext,
) -> None:
    programs = [program(Path(str(context.build))), program(context.caches / "ccache/0/1")]
    clear_privileges(context, [context.build], Console(-1))
    assert [stat.S_IMODE(file.stat().st_mode) for file in programs] == [0o755] * 2


def test_the_compiler_cache_is_made_harmless_before_anything_was_written(
    context: BuildContext,
) -> None:
    file = program(context.caches / "ccache")
    clear_privileges(context, [], Console(-1))
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


def test_without_a_compiler_cache_none_is_made(context: BuildContext) -> None:
    clear_privileges(replace(context, cache=None), [], Console(-1))
    assert not context.caches.exists()


def test_a_compiler_cache_that_cannot_be_used_is_told_and_fails_nothing(
    context: BuildContext, capsys: pytest.CaptureFixture[str]
) -> None:
    context.caches.mkdir()
    (context.caches / "ccache").touch()
    clear_privileges(context, [], Console())
    assert "remove the compiler cache" in capsys.readouterr().err


FOREIGN = "cuda13.5-debian12-aarch64"


@pytest.mark.parametrize(
    ("cell", "emulate", "option"),
    [
        ("cuda13.5-debian12-x86_64", False, ""),
        (FOREIGN, False, ""),
        (FOREIGN, True, " --emulate"),
    ],
)
def test_a_failure_names_the_shell_of_its_library_in_its_container(
    cell: str, option: str, *, emulate: bool
) -> None:
    context = build_context(cell=cell)
    compiler, *_ = images_of(context.cell, "amd64", emulate=emulate)
    context = replace(context, compiler=compiler)
    hint = step_hint(context, "compile")
    assert f"`envmatrix run shell {cell} --library lib{option}`" in hint


def runner_of(root: Path, program: Program, **more: Any) -> Runner:
    return Runner(FakeExecutor(program), context_in(root), Console(-1), **more)


def printing(*chunks: tuple[int, str], status: int = 0) -> Program:
    """Return a program that prints chunks, each to a stream, and ends with a status."""

    def program(_task: Task, on_output: OnOutput) -> TaskResult:
        for stream, text in chunks:
            on_output(stream, text.encode())
        return TaskResult(status)

    return program


def task_of(runner: Runner) -> Task:
    return tasks.in_compiler(runner.context, ["true"])


def test_each_of_two_steps_has_its_own_log_status_and_last_lines(tmp_path: Path) -> None:
    steps: list[Step] = []
    program = printing((0, "-- found nvcc\n"), (1, "\n[1/2] a.o\n"), (0, "late\n"), status=2)
    runner = runner_of(tmp_path, program, on_step=steps.append)
    completed = runner.run(task_of(runner), "configure", "compile")
    assert (completed.step, completed.status, completed.lines) == ("compile", 2, ("[1/2] a.o",))
    assert [(step.name, step.status) for step in steps] == [("configure", 0), ("compile", 2)]
    assert runner.context.log("configure").read_text() == "-- found nvcc\nlate\n"
    assert runner.context.log("compile").read_text() == "[1/2] a.o\n"


def test_an_engine_that_fails_is_tried_once_more(tmp_path: Path) -> None:
    attempts: list[int] = []

    def program(_task: Task, _on_output: OnOutput) -> TaskResult:
        attempts.append(1)
        if len(attempts) < 2:
            raise EngineError("it went away")
        return TaskResult(0)

    runner = runner_of(tmp_path, program)
    assert runner.run(task_of(runner), "compile").status == 0
    context = replace(runner.context, source=tmp_path / "missing")
    with pytest.raises(EngineError, match="bind source path does not exist"):
        runner.run(tasks.in_compiler(context, ["true"]), "compile")
    assert len(attempts) == 2


def test_nothing_is_retried_where_somebody_else_does_that(tmp_path: Path) -> None:
    attempts = []

    def program(_task: Task, _on_output: OnOutput) -> TaskResult:
        attempts.append(1)
        raise EngineError("it went away")

    runner = replace(runner_of(tmp_path, program), retries=False)
    with pytest.raises(EngineError):
        runner.run(task_of(runner), "compile")
    assert len(attempts) == 1


RETRIES = "-- Retry after 5 seconds (attempt #2) ...\n"


def test_a_step_that_waits_for_a_network_is_ended(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, printing((0, RETRIES), (0, "never\n")))
    with pytest.raises(StepFailed, match="was ended: it asks for a network") as error:
        runner.run(task_of(runner), "configure")
    assert error.value.details == (RETRIES.strip(),)
    # What tests print is theirs.
    assert runner.run(task_of(runner), "test").status == 0


@pytest.mark.parametrize(
    ("result", "message", "cause"),
    [
        (TaskResult(124, stopped="timeout"), "went on for more than 14400 s", "product"),
        (TaskResult(137, stopped="disk"), "filled the disk", "environment"),
        (TaskResult(137, stopped="output"), "printed more than a result has", "product"),
        (TaskResult(137, out_of_memory=True), "more than the 1024 MB", "environment"),
        (TaskResult(3), "failed with exit code 3", "product"),
        (TaskResult(139), r"failed with exit code 139 \(SIGSEGV\)", "product"),
    ],
)
def test_a_failure_says_how_the_program_ended_and_whose_it_is(
    tmp_path: Path, result: TaskResult, message: str, cause: str
) -> None:
    runner = runner_of(tmp_path, lambda _task, _on_output: result)
    runner = replace(runner, context=replace(runner.context, memory=1 << 30))
    with pytest.raises(StepFailed, match=f"^compile of `lib` in `.*` .*{message}") as error:
        runner.check(runner.run(task_of(runner), "compile"))
    assert error.value.cause == cause
    assert error.value.exit_code == result.status


def test_a_failure_is_never_taken_for_a_test_that_was_skipped(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, lambda _task, _on_output: TaskResult(SKIPPED))
    failure = runner.failure(runner.run(task_of(runner), "compile"))
    assert failure.exit_code == 1


def test_what_filled_the_disk_is_removed(tmp_path: Path) -> None:
    def program(task: Task, _on_output: OnOutput) -> TaskResult:
        with build_directory(task).opened() as build:
            build.write("huge", b"x")
        return TaskResult(137, stopped="disk")

    runner = runner_of(tmp_path, program)
    runner.failure(runner.run(task_of(runner), "compile"))
    with runner.context.build.opened() as build:
        assert build.is_empty


@pytest.mark.parametrize(
    ("printed", "hint"),
    [
        ("a.cpp:1:10: fatal error: cublas.h: No such file or directory", "`components: [cublas]`"),
        ("CMake Error: third/party has no CMakeLists.txt", "git submodule update"),
        ("sh: 1: jq: not found", "or in envs/devel.yaml for all"),
        ("third/party-2 failed", "the log is "),
    ],
    ids=["component", "submodule", "program", "neither"],
)
def test_a_failure_names_what_is_missing(tmp_path: Path, printed: str, hint: str) -> None:
    runner = runner_of(
        tmp_path,
        printing((0, printed), status=1),
        component_of={"cublas.h": "cublas"}.get,
        absent_submodules=lambda: ["third/party"],
    )
    failure = runner.failure(runner.run(task_of(runner), "compile"))
    assert (failure.hint or "").startswith(("add it", "check it out", "list", "the log is"))
    assert hint in (failure.hint or "")


def test_a_package_is_suggested_where_the_system_has_packages_to_suggest(tmp_path: Path) -> None:
    printed = "a.c:1:10: fatal error: hwloc.h: No such file or directory"
    program = printing((0, printed), status=1)
    runner = runner_of(tmp_path, program, package_of={"x.h": "x-dev"}.get)
    failure = runner.failure(runner.run(task_of(runner), "compile"))
    assert failure.names == ("hwloc.h",)
    assert "`envmatrix lock` says whether a package has it" in (failure.hint or "")
    runner = replace(runner, package_of={"hwloc.h": "libhwloc-dev"}.get)
    failure = runner.failure(runner.run(task_of(runner), "compile"))
    assert "`packages: {deb: [libhwloc-dev]}`" in failure.remedy
    failure = runner_of(tmp_path, program).failure(runner.run(task_of(runner), "compile"))
    assert failure.names == ()


def test_containers_leave_no_privileges(tmp_path: Path) -> None:
    def program(task: Task, _on_output: OnOutput) -> TaskResult:
        file = Path(str(build_directory(task))) / "program"
        file.touch()
        file.chmod(0o6755)
        return TaskResult(0)

    runner = runner_of(tmp_path, program)
    runner.run(task_of(runner), "compile")
    clear_privileges(runner.context, runner.written, runner.console)
    file = Path(str(runner.context.build)) / "program"
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("cell", "of_compiler"), [("cuda13.5-debian12-x86_64", "devel"), (FOREIGN, "devel")]
)
def test_what_an_image_lacks_belongs_to_the_flavour_of_the_image(
    cell: str, of_compiler: str
) -> None:
    context = build_context(cell=cell)
    assert context.runtime is not None
    assert context.flavour_to_extend(context.names[context.compiler]) == of_compiler
    assert context.flavour_to_extend(context.names[context.runtime]) == "runtime"
    analysis = replace(context.compiler, flavour="analysis")
    assert replace(context, compiler=analysis).flavour_to_extend("another") == "analysis"
