"""A library that needs another one: compiled after it, with what it installs, on any place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor
from tests.unit.app.conftest import CELL, Elsewhere
from tests.unit.app.test_job_runs import QUIET, Unseen

from envmatrix.app import testing
from envmatrix.app.cell_session import CellArguments, CellSession, open_session
from envmatrix.app.compilation import compile_recorded
from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.job_runs import JobOptions, JobRuns
from envmatrix.app.library_runs import Needs, build_context, run_each_library
from envmatrix.app.workspace import Workspace
from envmatrix.confined import Area
from envmatrix.engine.tasks import OnOutput, Task, TaskResult
from envmatrix.errors import EnvmatrixError
from envmatrix.jobs.execution import JobResult
from envmatrix.jobs.model import Resources
from envmatrix.results.job_records import JobRecords
from envmatrix.sessions.testing import TestRequest

CHAIN = """\
libraries:
  first:
    path: first
    build: {system: script, commands: ["true"], install: ["install first"]}
    test: none
  second:
    path: second
    needs: [first]
    build: {system: script, commands: ["true"]}
    test: {framework: commands, run: ["true"]}
"""
DAY = date(2026, 1, 1)

pytestmark = pytest.mark.parametrize("libraries", [CHAIN], indirect=True)


@dataclass
class Programs:
    """The programs of both libraries; those with a word of `failing` in their command fail."""

    content: bytes = b"x"
    failing: str = "nothing fails"
    steps: list[str] = field(default_factory=list)

    def __call__(self, task: Task, _on_output: OnOutput) -> TaskResult:
        command = " ".join(task.command)
        areas = {mount.target: mount.source for mount in task.mounts}
        build = areas["/build"]
        assert isinstance(build, Area)
        is_first = "/prefix/first" in areas and isinstance(areas["/prefix/first"], Area)
        step = f"{'first' if is_first else 'second'} {_step(command)}"
        self.steps.append(step)
        with build.opened() as directory:
            directory.write("outputs", self.content)
        prefix = areas.get("/prefix/first")
        if "install first" in command and isinstance(prefix, Area):
            with prefix.opened() as directory:
                directory.write("lib/libfirst.so", self.content)
        if not is_first:
            assert isinstance(prefix, Path)
            assert (prefix / "lib/libfirst.so").read_bytes() == self.content
        return TaskResult(1 if self.failing in step else 0)


def _step(command: str) -> str:
    if "install first" in command:
        return "install"
    return "test" if "LD_LIBRARY_PATH" in command else "compile"


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def place(programs: Programs) -> Elsewhere:
    return Elsewhere(Resources(8, 32 << 30), FakeExecutor(programs))


@pytest.fixture
def records(tmp_path: Path) -> JobRecords:
    return JobRecords(tmp_path / "records")


def run(workspace: Workspace, place: Elsewhere, records: JobRecords) -> Mapping[str, JobResult]:
    """Test the second library in a cell by jobs; return the result of each."""
    selection = JobSelection("test", [CELL], libraries=["second"])
    plan = plan_jobs(workspace, selection, place.resources(), QUIET)
    runs = JobRuns(workspace, plan, records, place)
    results, _ = runs.run("test", JobOptions(), DAY, QUIET, lambda _: Unseen())
    return {str(plan.graph.jobs[key]).removesuffix(f" {CELL}"): end for key, end in results.items()}


def session_of(place: Elsewhere) -> CellSession:
    arguments: CellArguments = {
        "name": CELL,
        "libraries": ["second"],
        "emulate": False,
        "jobs": 1,
        "memory": 64_000,
    }
    session = open_session(QUIET, **arguments)
    names = {image: str(image) for image in session.names}  # as that place has them
    return replace(session, place=place, names=names, cache=None)


ALL = ["first compile", "first install", "second compile", "second test"]


def test_jobs_install_what_a_library_needs_before_it_is_compiled(
    engine: Workspace, place: Elsewhere, records: JobRecords, programs: Programs
) -> None:
    results = run(engine, place, records)
    assert programs.steps == ALL
    assert {name: result.state for name, result in results.items()} == {
        "compile first": "done",
        "compile second": "done",
        "test second": "done",
    }


def test_what_did_not_change_is_reused(
    engine: Workspace, place: Elsewhere, records: JobRecords, programs: Programs
) -> None:
    run(engine, place, records)
    programs.steps.clear()
    assert {result.state for result in run(engine, place, records).values()} == {"reused"}
    (engine.root / "second/a.c").write_text("more")
    run(engine, place, records)
    assert programs.steps == ["second compile", "second test"]


def test_a_change_of_what_is_needed_compiles_both_again(
    engine: Workspace, place: Elsewhere, records: JobRecords, programs: Programs
) -> None:
    run(engine, place, records)
    programs.steps.clear()
    (engine.root / "first/a.c").write_text("more")
    programs.content = b"y"
    run(engine, place, records)
    assert programs.steps == ALL


def test_tests_alone_have_what_their_library_needs(
    engine: Workspace, place: Elsewhere, records: JobRecords, programs: Programs
) -> None:
    run(engine, place, records)
    shutil.rmtree(engine.root / "build" / CELL / "first")
    shutil.rmtree(records.own)
    programs.steps.clear()
    run(engine, place, records)
    assert programs.steps == ["first compile", "first install", "second test"]


@pytest.mark.parametrize("failing", ["first compile", "first install"])
def test_a_failure_of_what_is_needed_leaves_out_what_needs_it(
    engine: Workspace, place: Elsewhere, records: JobRecords, programs: Programs, failing: str
) -> None:
    programs.failing = failing
    results = run(engine, place, records)
    assert results["compile first"].state == "failed"
    reason = f"`compile first {CELL}` failed"
    for name in ("compile second", "test second"):
        assert (results[name].state, results[name].message) == ("left out", reason)


def test_a_session_installs_what_a_library_needs_once(
    engine: Workspace, place: Elsewhere, programs: Programs
) -> None:
    for expected in (ALL, ALL[2:]):
        programs.steps.clear()
        tests = testing.TestOptions(TestRequest())
        assert testing.test_libraries(session_of(place), tests, DAY, lambda _: None) == 0
        assert programs.steps == expected
    (engine.root / "first/a.c").write_text("more")
    programs.steps.clear()
    run_each_library(session_of(place), "compile", compile_recorded, lambda _: None)
    assert programs.steps == ALL[:3]


def test_jobs_and_sessions_share_what_is_installed(
    engine: Workspace, place: Elsewhere, records: JobRecords, programs: Programs
) -> None:
    run(engine, place, records)
    programs.steps.clear()
    Needs(session_of(place)).install_for(engine.matrix.declared["second"])
    assert programs.steps == []


def test_what_needs_a_library_that_failed_is_left_out(
    engine: Workspace, place: Elsewhere, programs: Programs
) -> None:
    programs.failing = "first compile"
    needs = Needs(session_of(place))
    with pytest.raises(EnvmatrixError, match="`first`"):
        needs.install_for(engine.matrix.declared["second"])
    with pytest.raises(EnvmatrixError, match="`second` is left out: `first`, which it needs, fail"):
        needs.install_for(engine.matrix.declared["second"])
    assert programs.steps == ["first compile"]


def test_libraries_of_a_session_follow_those_that_they_need(
    engine: Workspace, place: Elsewhere
) -> None:
    declared = engine.matrix.declared
    order = Needs(session_of(place)).ordered([declared["second"], declared["first"]])
    assert [library.name for library in order] == ["first", "second"]


def test_without_what_it_needs_a_library_has_no_container(
    engine: Workspace, place: Elsewhere
) -> None:
    with pytest.raises(EnvmatrixError, match="`first`, which `second` needs, is not installed"):
        build_context(session_of(place), engine.matrix.declared["second"])


def test_outputs_that_are_kept_for_others_have_what_is_installed(
    engine: Workspace,
    place: Elsewhere,
    records: JobRecords,
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = tmp_path / "configuration/envmatrix/config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f'[jobs]\noutputs = "{tmp_path}/outputs"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    run(engine, place, records)
    assert len([*(tmp_path / "outputs").iterdir()]) == len({*records.outputs()})
    shutil.rmtree(engine.root / "build")
    for file in records.own.rglob("*.jsonl"):
        if "sha256:" not in file.read_text().partition("\n")[0]:
            file.unlink()  # that of the test
    programs.steps.clear()
    run(engine, place, records)
    assert programs.steps == ["second test"]
