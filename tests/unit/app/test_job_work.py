"""The work of jobs, in a place that runs no container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor
from tests.unit.app.conftest import CELL, TESTED, Elsewhere

from envmatrix.app import compilation, job_plan
from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.job_execution import failure_of
from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.job_work import JobWork
from envmatrix.app.measurement import measure_libraries
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus, OnOutput, Task, TaskResult
from envmatrix.errors import EngineError, EnvmatrixError
from envmatrix.executors.outputs import DirectoryOutputs
from envmatrix.jobs.model import Kind, Resources
from envmatrix.results.job_records import JobRecords
from envmatrix.vcs.tree_identity import tree_identities, tree_state

MEASURED = """\
libraries:
  first:
    path: first
    build: {system: script, commands: ["true"]}
    benchmark: bench
"""


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
@pytest.mark.parametrize("is_trusted", [True, False])
def test_waivers_count_only_in_a_checkout_that_is_trusted(
    engine: Workspace, tmp_path: Path, *, is_trusted: bool
) -> None:
    waiver = "{test: '*', owner: ana, bug: BUG-1, expires: 2026-12-31}"
    (engine.root / "waivers.yaml").write_text(f'version: "1"\nwaivers: [{waiver}]\n')
    results = iter((0, 1))  # of the compilation, and of the test
    executor = FakeExecutor(lambda *_: TaskResult(next(results, 1)))
    workspace, place = replace(engine, is_trusted=is_trusted), Elsewhere(Resources(8), executor)
    if is_trusted:
        tasks_of(workspace, place, tmp_path)
        return
    with pytest.raises(EnvmatrixError) as raised:
        tasks_of(workspace, place, tmp_path)
    assert "waivers of a change that is not trusted" in failure_of(raised.value).message


def place_of_measurements() -> Elsewhere:
    """Return a place with a GPU, where all programs print an empty list of measurements."""
    executor = FakeExecutor(lambda *_: TaskResult(0, stdout='{"measurements": []}'))
    return Elsewhere(Resources(8, 32 << 30, 1), executor)


@pytest.mark.parametrize("libraries", [MEASURED], indirect=True)
def test_a_measurement_waits_for_others_before_its_run_begins(
    engine: Workspace, tmp_path: Path
) -> None:
    console, place = Console(-1), place_of_measurements()
    plan = plan_jobs(engine, JobSelection("perf", [CELL]), place.resources(), console)
    images = place.images(engine, engine.images([CELL]), console)
    work = JobWork(
        engine, plan, place, images, JobRecords(tmp_path / "records"), None, date(2026, 1, 1)
    )
    (job,) = (job for job in plan.graph.jobs.values() if job.kind == "measure")
    work.do(job, console)
    assert place.events == ["measuring", "run", "measured"]


@pytest.mark.parametrize("libraries", [MEASURED], indirect=True)
def test_all_libraries_of_a_cell_are_measured_without_others(engine: Workspace) -> None:
    place = place_of_measurements()
    cell: CellArguments = {
        "name": CELL,
        "libraries": (),
        "emulate": False,
        "jobs": 1,
        "memory": 64_000,
    }
    session = replace(open_session(Console(-1), **cell), place=place)
    assert measure_libraries(session, Gpus(), (), lambda _: None) == 0
    assert place.events == ["measuring", "run", "measured"]


@pytest.mark.parametrize("libraries", [TESTED], indirect=True)
def test_a_pipeline_uses_nothing_that_an_earlier_job_left_in_a_build_directory(
    engine: Workspace, tmp_path: Path
) -> None:
    def program(task: Task, _: OnOutput) -> TaskResult:
        for area in task.outputs:
            if area.name == "devel":
                with area.opened() as directory:
                    left.append([file.name for file in directory.files(["word", "once"])])
                    directory.write("word", b"compiled")
        return TaskResult(0)

    left: list[list[str]] = []
    console = Console(-1)
    place = Elsewhere(Resources(8, 32 << 30), FakeExecutor(program), trusts_builds=False)
    plan = plan_jobs(engine, JobSelection("test", [CELL]), place.resources(), console)
    (job,) = (job for job in plan.graph.jobs.values() if job.kind == "compile")
    work = JobWork(
        engine,
        plan,
        place,
        place.images(engine, engine.images([CELL]), console),
        JobRecords(tmp_path / "records"),
        DirectoryOutputs(tmp_path / "outputs"),
        date(2026, 1, 1),
    )
    file = engine.root / f"build/{CELL}/first/devel/word"
    supplied = replace(work, supplied=[job.id])
    assert work.do(job, console).state == "done"
    for leave in (file.unlink, lambda: file.write_text("of a test")):
        leave()
        (file.parent / "once").touch()
        assert supplied.do(job, console).state == "reused"
        assert file.read_text() == "compiled"
        assert not (file.parent / "once").exists()
    (file.parent / "once").touch()
    replace(work, anew=[job.id]).do(job, console)
    assert left == [[], []]
    for outputs in (tmp_path / "outputs").iterdir():
        outputs.write_bytes(outputs.read_bytes()[:-9])
    with pytest.raises(EngineError, match="damaged"):
        supplied.do(job, console)
    JobRecords(tmp_path / "records").forget(job)
    with pytest.raises(EngineError, match="left no outputs"):
        supplied.do(job, console)


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

    def identities(directories: Iterable[Path], left_out: Path | None = None) -> Mapping[Path, str]:
        read = [*directories]
        reads.extend(read)
        return tree_identities(read, left_out)

    monkeypatch.setattr(job_plan, "tree_identities", identities)
    jobs = tasks_of(engine, Elsewhere(Resources(8, 32 << 30)), tmp_path)
    assert len(jobs) == 2
    assert len(reads) == 2  # to plan them, and by the first job
