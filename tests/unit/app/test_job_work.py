"""The work of jobs, in a place that runs no container."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tests.unit.app.conftest import CELL, TESTED, Elsewhere

from envmatrix.app import compilation, job_plan
from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.job_work import JobWork
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus, Task
from envmatrix.jobs.model import Kind, Resources
from envmatrix.results.job_records import JobRecords
from envmatrix.vcs.tree_identity import tree_identity, tree_state


def tasks_of(workspace: Workspace, place: Elsewhere, directory: Path) -> dict[Kind, list[Task]]:
    """Do the jobs of a cell in a place; return the tasks of each kind."""
    console = Console(-1)
    plan = plan_jobs(workspace, JobSelection("test", [CELL]), place.resources(), console)
    required = workspace.images([CELL])
    images, records = place.images(workspace, required, console), JobRecords(directory / "records")
    work = JobWork(workspace, plan, place, images, records, None, date(2026, 1, 1))
    tasks: dict[Kind, list[Task]] = {}
    for job in plan.graph.jobs.values():
        if job.kind in ("compile", "test"):
            work.do(job, console)
            tasks[job.kind] = [*place.executor.tasks]
            place.executor.tasks.clear()
    return tasks


@pytest.mark.parametrize("libraries", [TESTED], indirect=True)
def test_tasks_have_the_processors_of_their_job(engine: Workspace, tmp_path: Path) -> None:
    place = Elsewhere(Resources(8, 32 << 30))
    for tasks in tasks_of(engine, place, tmp_path).values():
        assert [task.limits.processors for task in tasks] == [4]


@pytest.mark.parametrize("libraries", [TESTED], indirect=True)
@pytest.mark.parametrize(("count", "gpus"), [(0, None), (2, Gpus())])
def test_tests_have_the_gpus_of_their_place(
    engine: Workspace, tmp_path: Path, count: int, gpus: Gpus | None
) -> None:
    tasks = tasks_of(engine, Elsewhere(Resources(8, 32 << 30, count)), tmp_path)
    assert [task.gpus for task in tasks["compile"]] == [None]
    assert [task.gpus for task in tasks["test"]] == [gpus]


@pytest.mark.parametrize("libraries", [TESTED], indirect=True)
def test_a_source_is_walked_only_before_and_after_a_job(
    engine: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[Path] = []

    def state(directory: Path, left_out: Path | None = None) -> str:
        walks.append(directory)
        return tree_state(directory, left_out)

    monkeypatch.setattr(compilation, "tree_state", state)
    jobs = tasks_of(engine, Elsewhere(Resources(8, 32 << 30)), tmp_path)
    assert len(walks) == 2 * len(jobs)


@pytest.mark.parametrize("libraries", [TESTED], indirect=True)
def test_a_source_is_read_once_for_all_jobs_while_nothing_is_written_to_it(
    engine: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []

    def identity(directory: Path, left_out: Path | None = None) -> str:
        reads.append(directory)
        return tree_identity(directory, left_out)

    monkeypatch.setattr(job_plan, "tree_identity", identity)
    jobs = tasks_of(engine, Elsewhere(Resources(8, 32 << 30)), tmp_path)
    assert len(jobs) == 2
    assert len(reads) == 2  # to plan them, and by the first job
