"""Jobs that are reused, and what reports then have of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pytest
from tests.repositories import committed
from tests.unit.app.conftest import CELL, TESTED, Elsewhere
from tests.unit.prompt import Prompt

from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.job_runs import JobOptions, JobRuns, Rerun
from envmatrix.app.reports import compose_report, scope_of
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.tasks import OnOutput, Task, TaskResult
from envmatrix.errors import Cancelled
from envmatrix.jobs.execution import JobResult, JobState, goals_of
from envmatrix.jobs.model import Job, Resources
from envmatrix.results.job_records import JobRecords
from envmatrix.sessions.outcomes import State

QUIET = Console(-1)
TODAY = date(2026, 1, 1)

pytestmark = pytest.mark.parametrize("libraries", [TESTED], indirect=True)


class Unseen:
    """Shows nothing of jobs."""

    def started(self, _: Job) -> Console:
        return QUIET

    def ended(self, job: Job, result: JobResult) -> None: ...

    def interrupted(self, jobs: Sequence[Job]) -> None: ...


@pytest.fixture
def place() -> Elsewhere:
    return Elsewhere(Resources(8, 32 << 30))


@pytest.fixture
def records(tmp_path: Path) -> JobRecords:
    return JobRecords(tmp_path / "records")


def states(
    workspace: Workspace, place: Elsewhere, records: JobRecords, rerun: Rerun = "none"
) -> Mapping[str, JobState]:
    """Test in a cell; return the state of each job by its kind."""
    plan = plan_jobs(workspace, JobSelection("test", [CELL]), place.resources(), QUIET)
    runs = JobRuns(workspace, plan, records, place)
    results, _ = runs.run("test", JobOptions(rerun=rerun), TODAY, QUIET, lambda _: Unseen())
    runs.record_reused(results, QUIET)
    return {plan.graph.jobs[key].kind: result.state for key, result in results.items()}


def reported(workspace: Workspace) -> list[State]:
    """Return the states of the runs in a report."""
    report = compose_report(workspace, scope_of(workspace, (), (), None, TODAY), QUIET)
    return [stored.end.state for entry in report.entries for stored in entry.runs]


def killed(_task: Task, _on_output: OnOutput) -> TaskResult:
    raise Cancelled("it is killed")


def files(workspace: Workspace) -> Mapping[Path, int]:
    directory = workspace.root / ".envmatrix"
    return {file: file.stat().st_mtime_ns for file in directory.rglob("*")}


def test_a_new_checkout_reports_what_it_reuses(
    engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    states(engine, place, records)
    shutil.rmtree(engine.root / ".envmatrix")
    assert reported(engine) == []
    assert states(engine, place, records) == {"test": "reused"}
    assert reported(engine) == ["passed"]


def test_compilations_without_outputs_here_are_those_of_reused_tests(
    engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    def absent() -> set[str]:
        plan = plan_jobs(engine, JobSelection("test", [CELL]), place.resources(), QUIET)
        reuse = JobRuns(engine, plan, records, place).reuse
        reused = [key for key, _ in reuse.results(goals_of(plan.graph, "test"))]
        return {plan.graph.jobs[key].kind for key in reuse.absent(reused)}

    states(engine, place, records)
    assert absent() == set()
    shutil.rmtree(engine.root / "build")
    assert states(engine, place, records) == {"test": "reused"}
    assert absent() == {"compile"}


def test_tests_of_a_pipeline_need_outputs_although_a_build_directory_has_some(
    engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    states(engine, place, records)
    place.trusts_builds = False
    assert states(engine, place, JobRecords(records.own.parent / "others")) == {
        "compile": "done",
        "test": "done",
    }


def test_a_reused_result_is_reported_in_place_of_a_killed_run(
    engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    states(engine, place, records)
    place.executor.program = killed
    states(engine, place, records, "all")
    assert reported(engine) == ["killed"]
    assert states(engine, place, records) == {"test": "reused"}
    assert reported(engine) == ["passed"]


@pytest.mark.parametrize("flavour", ["devel", "runtime"])
def test_a_reused_result_is_reported_after_a_change_and_its_revert(
    engine: Workspace, place: Elsewhere, records: JobRecords, flavour: str
) -> None:
    (engine.root / "first" / "word").write_text("a word\n")
    states(engine, place, records)

    def broken(task: Task, _: OnOutput) -> TaskResult:
        return TaskResult(int(f":{flavour}" in task.image))

    place.executor.program = broken
    (engine.root / "first" / "word").write_text("another word\n")
    states(engine, place, records)
    assert reported(engine) == ["failed"]
    (engine.root / "first" / "word").write_text("a word\n")
    assert states(engine, place, records) == {"test": "reused"}
    assert reported(engine) == ["passed"]


def test_nothing_is_recorded_where_reports_have_what_is_reused(
    engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    states(engine, place, records)
    assert reported(engine) == ["passed"]
    before = files(engine)
    assert states(engine, place, records) == {"test": "reused"}
    assert files(engine) == before


OTHER = "cuda13.0-debian12-aarch64"


def test_a_check_fails_for_what_never_ran_and_not_for_what_nobody_asked_for(
    envmatrix: Prompt, engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    nothing = envmatrix("report", "--check", "--select", CELL)
    assert nothing.status == 1
    assert f"Never ran:\n  first {CELL}\n" in nothing.out
    states(engine, place, records)
    assert envmatrix("report", "--check", "--select", CELL).status == 0
    answer = envmatrix("report", "--check")
    assert answer.status == 1
    assert f"Never ran:\n  first {OTHER}\n" in answer.out
    assert answer.out.endswith("1 result of libraries in cells, 1 never ran\n")
    document = json.loads(envmatrix("report", "--format", "json").out)
    assert document["missing"] == [{"library": "first", "cell": OTHER}]
    assert envmatrix("report").status == 0


def test_a_check_of_a_tier_is_of_its_cells_alone(envmatrix: Prompt, engine: Workspace) -> None:
    matrix = engine.root / "matrix.yaml"
    tier = f"tiers: {{pr: {{jobs: 1, gpu_jobs: 0, always: ['{OTHER}']}}}}\n"
    matrix.write_text(matrix.read_text() + tier)
    answer = envmatrix("report", "--check", "--tier", "pr")
    assert answer.status == 1
    assert f"Never ran:\n  first {OTHER}\n\n" in answer.out


def test_a_check_says_what_ran_at_another_revision(
    envmatrix: Prompt, engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    committed(engine.root)
    states(engine, place, records)
    check = ("report", "--check", "--select", CELL)
    assert "another revision" not in envmatrix(*check).err
    committed(engine.root, {"word": "another"})
    answer = envmatrix(*check)
    assert answer.status == 0
    assert "1 result is of another revision: `envmatrix test` runs what changed since" in answer.err


def test_the_state_goes_on_to_tests_until_all_passed(
    envmatrix: Prompt, engine: Workspace, place: Elsewhere, records: JobRecords
) -> None:
    states(engine, place, records)
    *_, results, step = envmatrix("status").out.splitlines()
    assert (results, step) == ("results  1 passed, 1 never ran", "next     envmatrix test")
    matrix = engine.root / "matrix.yaml"
    matrix.write_text(
        matrix.read_text().replace("path: first", f"path: first\n    cells: [{CELL}]")
    )
    assert envmatrix("status").out.splitlines()[-1] == "results  1 passed"


def test_a_checkout_that_is_read_only_still_answers(
    envmatrix: Prompt, engine: Workspace, place: Elsewhere
) -> None:
    states(engine, place, JobRecords.of_user())
    shutil.rmtree(engine.root / ".envmatrix")
    (engine.root / ".envmatrix").touch()  # no directory can be made there
    answer = envmatrix("test", CELL)
    assert answer.status == 0, answer.err
    assert "1 reused" in answer.out
    assert "results are not written" in answer.err
