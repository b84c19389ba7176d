"""What is said where a framework lists or runs no test; CTest is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor, Program, build_directory
from tests.unit.sessions.contexts import build_context, context_in

from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus, OnOutput, Task, TaskResult
from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.library import LibraryTest
from envmatrix.sessions.failures import StepFailed
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.sharding import Shard
from envmatrix.sessions.testing import Testing, TestRequest, TestRun

EMPTY = TaskResult(0, '{"tests": []}')


@dataclass
class FakeCTest:
    """A CTest that lists `listed` and reports the next of `reports`, or no test.

    With `obeys` it also reports the selected tests; `first` is the status of its first run."""

    listed: TaskResult
    output: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    obeys: bool = False
    first: int = 0
    commands: list[Sequence[str]] = field(default_factory=list)

    def __call__(self, task: Task, on_output: OnOutput) -> TaskResult:
        if "--show-only=json-v1" in task.command:
            for line in self.output:
                on_output(1, f"{line}\n".encode())
            return self.listed
        report = dict(enumerate(self.reports)).get(len(self.commands), "")
        report += "".join(map(case, names_in(task.command))) if self.obeys else ""
        with build_directory(task).opened() as build:
            build.write("reports/ctest.xml", f"<testsuite>{report}</testsuite>".encode())
        self.commands.append(task.command)
        return TaskResult(8 if "fail" in report else 0 if self.commands[1:] else self.first)


def with_program(root: Path, program: Program, test: LibraryTest) -> Testing:
    context = context_in(root, build_context(test=test))
    return Testing(Runner(FakeExecutor(program), context, Console()), test, None)


def ctest_in(
    root: Path,
    listed: TaskResult,
    output: tuple[str, ...] = (),
    reports: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
) -> Testing:
    return with_program(
        root, FakeCTest(listed, output, reports), LibraryTest("ctest", options=options)
    )


def listing(*names: str) -> TaskResult:
    return TaskResult(0, json.dumps({"tests": [{"name": name} for name in names]}))


def case(name: str, status: str = "run", output: str = "") -> str:
    failure = f"<failure message='Failed'/><system-out>{output}</system-out>"
    inside = failure if status == "fail" else ""
    return f"<testcase name='{name}' status='{status}'>{inside}</testcase>"


def names_in(command: Sequence[str]) -> list[str]:
    """Return the names in the expression of a command."""
    pattern = command[command.index("-R") + 1]
    return pattern.removeprefix("^(").removesuffix(")$").replace("\\", "").split("|")


def states(run: TestRun) -> dict[str, str]:
    return {outcome.name: outcome.state for outcome in run.outcomes}


def test_a_framework_that_runs_no_test_fails(tmp_path: Path) -> None:
    run = ctest_in(tmp_path, EMPTY).run(TestRequest())
    assert run.outcomes == ()
    assert run.failure is not None
    assert run.failure.message == "no test ran"
    assert "`test: none`" in (run.failure.hint or "")


@pytest.mark.parametrize("index", [1, 2])
def test_no_shard_of_a_library_without_tests_passes(tmp_path: Path, index: int) -> None:
    tests = ctest_in(tmp_path, EMPTY)
    with pytest.raises(EnvmatrixError, match="ctest lists no test") as error:
        tests.run(TestRequest(shard=Shard(index, 2)))
    assert "`test: none`" in (error.value.hint or "")
    assert "list.log" in (error.value.hint or "")


def test_a_shard_passes_where_all_tests_are_in_others(tmp_path: Path) -> None:
    tests = ctest_in(tmp_path, TaskResult(0, '{"tests": [{"name": "a"}]}'))
    run = tests.run(TestRequest(shard=Shard(2, 2)))
    assert (run.outcomes, run.failure) == ((), None)


def test_a_change_that_reaches_no_test_passes(tmp_path: Path) -> None:
    run = ctest_in(tmp_path, EMPTY).run(TestRequest(only=()))
    assert (run.outcomes, run.failure) == ((), None)


def test_a_program_that_cannot_list_its_tests_is_an_error(tmp_path: Path) -> None:
    output = ("a_test: error while loading shared libraries: libx.so: cannot open it",)
    tests = ctest_in(tmp_path, TaskResult(127), output)
    with pytest.raises(StepFailed, match=r"list of `lib` in .* failed with exit code 127") as error:
        tests.run(TestRequest(shard=Shard(1, 2)))
    assert error.value.details == output


def test_a_shard_that_runs_no_test_of_its_own_fails(tmp_path: Path) -> None:
    run = ctest_in(tmp_path, listing("a", "b", "c")).run(TestRequest(shard=Shard(1, 2)))
    assert states(run) == {"a": "errored", "c": "errored"}
    assert all(outcome.message.startswith("did not run: ctest") for outcome in run.outcomes)
    assert run.failure is not None


def test_a_wanted_test_that_is_not_reported_is_an_error(tmp_path: Path) -> None:
    tests = ctest_in(tmp_path, listing("a", "b"), reports=(case("a"),))
    run = tests.run(TestRequest(shard=Shard(1, 1)))
    assert states(run) == {"a": "passed", "b": "errored"}
    assert run.failure is not None
    assert run.failure.exit_code == 1


def test_a_test_that_a_change_reaches_and_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    run = ctest_in(tmp_path, EMPTY).run(TestRequest(only=("a",)))
    assert states(run) == {"a": "errored"}
    assert run.failure is not None


@pytest.mark.parametrize("in_matrix", [True, False])
def test_a_test_that_an_option_leaves_out_is_none(tmp_path: Path, *, in_matrix: bool) -> None:
    options = ("-L", "host")
    tests = ctest_in(
        tmp_path,
        listing("a", "b"),
        reports=(case("a"),),
        options=options if in_matrix else (),
    )
    run = tests.run(TestRequest(() if in_matrix else options, shard=Shard(1, 1)))
    assert (states(run), run.failure) == ({"a": "passed"}, None)


def test_what_does_not_run_again_stays_as_it_was(tmp_path: Path) -> None:
    tests = ctest_in(tmp_path, EMPTY, reports=(case("a", "fail", "expected 1"),))
    run = tests.run(TestRequest(retries=1))
    assert states(run) == {"a": "failed"}
    assert run.outcomes[0].message == "expected 1"
    assert run.failure is not None


def test_a_shard_of_many_tests_runs_them_all(tmp_path: Path) -> None:
    """They are in several programs, which may all run the tests of a fixture."""
    names = [f"some.fairly_long_test_name_of_a_suite_number_{number:04}" for number in range(500)]
    fixture = case("fixture"), case("fixture", "fail"), case("fixture")
    ctest = FakeCTest(listing(*names), reports=fixture, obeys=True)
    run = with_program(tmp_path, ctest, LibraryTest("ctest")).run(TestRequest(shard=Shard(1, 1)))
    assert len(ctest.commands) == 2
    assert states(run) == {**dict.fromkeys(names, "passed"), "fixture": "failed"}


def test_a_bad_ending_outlasts_tests_that_pass_when_tried_again(tmp_path: Path) -> None:
    """One program ends badly after all its tests passed, and another has a flaky test."""
    names = [f"some.fairly_long_test_name_of_a_suite_number_{number:04}" for number in range(500)]
    reports = ("", case(names[-1], "fail"))
    ctest = FakeCTest(listing(*names), reports=reports, obeys=True, first=3)
    tests = with_program(tmp_path, ctest, LibraryTest("ctest"))
    run = tests.run(TestRequest(shard=Shard(1, 1), retries=1))
    assert states(run) == {**dict.fromkeys(names, "passed"), names[-1]: "flaky"}
    assert run.failure is not None
    assert run.failure.exit_code == 3


CUBLAS = "x: error while loading shared libraries: libcublas.so.13: cannot open shared object file"


@pytest.mark.parametrize(
    ("cases", "cause"),
    [
        (case("a", "fail", CUBLAS) + case("b"), "environment"),
        (case("a", "fail", CUBLAS) + case("b", "fail", "expected 1"), "product"),
    ],
    ids=["all", "some"],
)
def test_tests_that_could_not_load_a_component_name_it(
    tmp_path: Path, cases: str, cause: str
) -> None:
    tests = ctest_in(tmp_path, EMPTY, reports=(cases,))
    runner = replace(tests.runner, component_of=lambda file: "cublas" if "cublas" in file else None)
    failure = replace(tests, runner=runner).run(TestRequest()).failure
    assert isinstance(failure, StepFailed)
    assert "it needs `libcublas.so.13`, which is of the component `cublas`" in failure.message
    assert "`components: [cublas]`" in (failure.hint or "")
    assert failure.cause == cause


FMT = "x: error while loading shared libraries: libfmt.so.9: cannot open shared object file: No"


def test_tests_that_could_not_load_a_library_name_the_flavour_to_extend(tmp_path: Path) -> None:
    failure = (
        ctest_in(tmp_path, EMPTY, reports=(case("a", "fail", FMT),)).run(TestRequest()).failure
    )
    assert isinstance(failure, StepFailed)
    assert failure.message.endswith("failed: the image has no library `libfmt.so.9`")
    assert str(failure.hint).startswith(
        "list its package under `packages` of the library, or in envs/runtime.yaml for all; "
    )
    assert failure.cause == "environment"


LOADER = "x: error while loading shared libraries: libcuda.so.1: cannot open shared object file: No"


@pytest.mark.parametrize(
    ("cases", "state"),
    [
        (case("a", "fail", LOADER), "skipped"),
        (case("a", "fail", f"FAIL: expected 1, got 2\n{LOADER}"), "errored"),
        (case("a", "fail", LOADER) + case("a", "fail", "expected 1"), "failed"),
        (case("a", "fail", "expected 1") + case("a"), "failed"),
    ],
    ids=["loader", "more", "another", "passes"],
)
def test_no_test_that_lacks_the_driver_hides_one_that_failed(
    tmp_path: Path, cases: str, state: str
) -> None:
    run = ctest_in(tmp_path, EMPTY, reports=(cases,)).run(TestRequest())
    assert states(run) == {"a": state}
    assert (run.failure is None) == (state == "skipped")


@pytest.mark.parametrize(
    ("status", "lines", "state"),
    [
        (1, ("FAIL: expected 1, got 2", LOADER), "failed"),
        (1, (LOADER,), "errored"),
        (127, ("begins", LOADER), "skipped"),
        (77, ("no GPU",), "skipped"),
    ],
)
def test_a_command_is_told_by_its_exit_code(
    tmp_path: Path, status: int, lines: tuple[str, ...], state: str
) -> None:
    def program(_task: Task, on_output: OnOutput) -> TaskResult:
        on_output(0, "\n".join(lines).encode())
        return TaskResult(status)

    run = with_program(tmp_path, program, LibraryTest("commands", run=("a",))).run(TestRequest())
    assert states(run) == {"a": state}


def test_a_command_that_fails_is_announced_before_the_next_one_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    news: list[str] = []

    def program(task: Task, _on_output: OnOutput) -> TaskResult:
        news.append(capsys.readouterr().err)
        return TaskResult(1 if "bad" in task.command else 0)

    commands = LibraryTest("commands", run=("bad", "good", "last"))
    with_program(tmp_path, program, commands).run(TestRequest())
    assert ["failed   bad\n" in text for text in news] == [False, True, False]


def test_a_program_without_results_is_announced_before_the_next_one_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = with_program(
        tmp_path, lambda _task, _on_output: TaskResult(139), LibraryTest("googletest", run=("*",))
    )
    with tests.runner.context.build.opened() as build:
        for name in ("first", "last"):
            build.write(name, b"")
    tests.run(TestRequest())
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("errored")]
    assert lines == ["errored  /build/first"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (TaskResult(124, stopped="timeout"), "test of `lib` in `.*` went on for more than 60 s"),
        (TaskResult(137, out_of_memory=True), "took more than the memory"),
    ],
)
def test_tests_that_are_killed_at_a_limit_are_one_error(
    tmp_path: Path, result: TaskResult, message: str
) -> None:
    tests = with_program(
        tmp_path, lambda _task, _on_output: result, LibraryTest("ctest", timeout=60)
    )
    run = tests.run(TestRequest())
    assert states(run) == {"ctest": "errored"}
    with pytest.raises(StepFailed, match=message):
        raise run.failure or AssertionError


def test_tests_have_the_gpus_the_time_and_the_wheels_that_they_need(tmp_path: Path) -> None:
    test = LibraryTest("pytest", timeout=60)
    tests = with_program(tmp_path, lambda _task, _on_output: TaskResult(0), test)
    replace(tests, gpus=Gpus("nvidia.com/gpu=0")).run(TestRequest())
    assert isinstance(tests.runner.executor, FakeExecutor)
    (task,) = tests.runner.executor.tasks
    assert (task.gpus, task.limits.seconds) == (Gpus("nvidia.com/gpu=0"), 60)
    assert task.environment["PYTHONPATH"] == "/build/site:/requires"
    assert task.directory == "/src"
