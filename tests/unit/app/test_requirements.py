"""Jobs that require a machine, and jobs of steps: done where they can be, and skipped elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor
from tests.unit.app.conftest import CELL, Elsewhere
from tests.unit.app.test_job_runs import Unseen
from tests.unit.prompt import Prompt

from envmatrix.app.job_plan import JobSelection, plan_jobs, with_unmet
from envmatrix.app.job_runs import JobOptions, JobRuns
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.gpu import Gpu
from envmatrix.engine.tasks import Gpus, OnOutput, Task, TaskResult
from envmatrix.errors import ConfigurationError
from envmatrix.jobs.execution import JobResult
from envmatrix.jobs.model import Job, Resources, Verb
from envmatrix.results.job_records import JobRecords

QUIET = Console(-1)
TODAY = date(2026, 1, 1)
ON_TWO = """\
libraries:
  first:
    path: first
    build: {system: script, commands: ["true"]}
    test: {framework: commands, run: ["true"], runs_on: [h100, {gpu: h200, tier: nightly}]}
    benchmark: {program: bench, runs_on: h200}
"""
STEPS = """\
libraries:
  first:
    path: first
    build: {system: script, commands: ["true"]}
    test: none
    steps:
      nvrtc: {commands: [./one, ./two, ./three], runs_on: h100, environment: {A: b}}
      docs: {commands: [make docs], after: nothing, tier: nightly}
      install: {commands: [ls], image: runtime, cells: "*-x86_64"}
"""
H100 = Gpu("0", "NVIDIA H100 PCIe", 90, 85_520, 580)


def with_gpus(*gpus: Gpu) -> Elsewhere:
    return Elsewhere(Resources(8, 32 << 30, len(gpus)), gpus=gpus)


def runs_in(workspace: Workspace, place: Elsewhere, root: Path, selection: JobSelection) -> JobRuns:
    plan = plan_jobs(workspace, selection, place.resources(), QUIET)
    plan = with_unmet(plan, workspace.matrix, place)
    return JobRuns(workspace, plan, JobRecords(root / "records"), place)


def done(
    workspace: Workspace,
    place: Elsewhere,
    root: Path,
    verb: Verb = "test",
    tier: str | None = None,
    steps: Sequence[str] = (),
) -> Mapping[str, JobResult]:
    """Do the jobs of a verb in a cell; return the result of each by its name, without the cell."""
    selection = JobSelection(verb, [CELL], tier, steps=steps)
    runs = runs_in(workspace, place, root, selection)
    results, _ = runs.run(verb, JobOptions(), TODAY, QUIET, lambda _: Unseen())
    runs.write_results(results)
    jobs = runs.plan.graph.jobs
    return {str(jobs[key]).replace(f" {CELL}", ""): result for key, result in results.items()}


def states(results: Mapping[str, JobResult]) -> Mapping[str, str]:
    rows = {name: result.state for name, result in results.items()}
    return {name: state for name, state in rows.items() if name.split()[0] in ("test", "step")}


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
def test_tests_run_on_the_machine_that_they_require_and_are_skipped_on_another(
    engine: Workspace, tmp_path: Path
) -> None:
    place = with_gpus(H100)
    results = done(engine, place, tmp_path)
    assert states(results) == {"test first on-h100": "done", "test first on-h200": "skipped"}
    assert results["test first on-h200"].message == "needs h200: there is NVIDIA H100 PCIe"
    tests = [task for task in place.executor.tasks if task.gpus]
    assert [task.gpus for task in tests] == [Gpus("nvidia.com/gpu=all", ("0",))]


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
def test_nothing_is_built_for_tests_that_no_machine_here_can_run(
    engine: Workspace, tmp_path: Path
) -> None:
    place = with_gpus()
    results = done(engine, place, tmp_path)
    assert {result.state for result in results.values()} == {"skipped"}
    assert place.executor.tasks == []
    report = (engine.root / "build/junit.xml").read_text()
    assert report.count("<skipped") == 2
    assert "needs h100: there is no GPU" in report


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
def test_a_result_of_the_right_machine_is_reused_on_any(engine: Workspace, tmp_path: Path) -> None:
    done(engine, with_gpus(H100), tmp_path)
    assert states(done(engine, with_gpus(), tmp_path)) == {
        "test first on-h100": "reused",
        "test first on-h200": "skipped",
    }


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
def test_a_tier_has_the_machines_from_the_first_one_on(engine: Workspace, tmp_path: Path) -> None:
    def machines(tier: str) -> list[str]:
        selection = JobSelection("test", [CELL], tier)
        jobs = runs_in(engine, with_gpus(), tmp_path, selection).plan.graph.jobs.values()
        return [job.subject[2] for job in jobs if job.kind == "test"]

    assert machines("pr") == ["on-h100"]
    assert machines("nightly") == machines("weekly") == ["on-h100", "on-h200"]


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
def test_tests_on_a_machine_have_its_name_in_results_and_logs(
    engine: Workspace, tmp_path: Path
) -> None:
    runs = runs_in(engine, with_gpus(H100), tmp_path, JobSelection("test", [CELL]))
    runs.run("test", JobOptions(), TODAY, QUIET, lambda _: Unseen())
    (job,) = (job for job in runs.plan.graph.jobs.values() if job.subject[2:] == ("on-h100",))
    stored = runs.records.find(job)
    assert stored
    assert (stored.record.run.verb, stored.record.run.part) == ("test", "on-h100")
    assert [outcome.name for outcome in stored.record.outcomes] == ["true on h100"]
    directory = engine.root / "build" / CELL / "first"
    assert {"test-on-h100.log", "compile.log"} <= {file.name for file in directory.iterdir()}
    assert (directory / "junit-on-h100.xml").exists()


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
def test_a_benchmark_is_measured_on_the_machine_that_it_requires(
    engine: Workspace, tmp_path: Path
) -> None:
    row = '{"measurements": [{"name": "a", "value": 1, "unit": "s", "direction": "lower"}]}'
    h200 = Gpu("1", "NVIDIA H200", 90, 150_000, 580)
    place = replace(with_gpus(H100, h200), executor=FakeExecutor(lambda *_: TaskResult(0, row)))
    matrix = (engine.root / "matrix.yaml").read_text()
    assert "benchmark" in matrix
    results = done(engine, place, tmp_path, "perf")
    assert results["measure first on-h200"].state == "done"
    assert place.executor.tasks[-1].gpus == Gpus("nvidia.com/gpu=all", ("1",))
    skipped = done(engine, with_gpus(H100), tmp_path, "perf")
    assert skipped["measure first on-h200"].state == "skipped"


def second_fails(task: Task, _on_output: OnOutput) -> TaskResult:
    return TaskResult(1 if task.command[-1] == "./two" else 0)


@pytest.mark.parametrize("libraries", [STEPS], indirect=True)
def test_steps_run_beside_the_tests_each_as_a_job(engine: Workspace, tmp_path: Path) -> None:
    place = with_gpus(H100)
    assert states(done(engine, place, tmp_path)) == {
        "step first nvrtc on-h100": "done",
        "step first docs": "done",
        "step first install": "done",
    }
    commands = {task.command[-1]: task for task in place.executor.tasks}
    assert commands["./one"].environment["A"] == "b"
    assert commands["./one"].gpus == Gpus("nvidia.com/gpu=all", ("0",))
    assert commands["make docs"].gpus is None
    builds = {mount.target: mount.source for mount in commands["make docs"].mounts}
    assert str(builds["/build"]).endswith("devel-docs")
    assert (commands["make docs"].directory, commands["./one"].directory) == ("/src", "/build")
    assert "runtime" in commands["ls"].image
    assert "devel" in commands["./one"].image
    assert states(done(engine, place, tmp_path)) == dict.fromkeys(
        ("step first nvrtc on-h100", "step first docs", "step first install"), "reused"
    )


@pytest.mark.parametrize("libraries", [STEPS], indirect=True)
def test_a_step_ends_at_its_first_failure(engine: Workspace, tmp_path: Path) -> None:
    place = replace(with_gpus(H100), executor=FakeExecutor(second_fails))
    runs = runs_in(engine, place, tmp_path, JobSelection("step", [CELL], steps=["nvrtc"]))
    results, _ = runs.run("step", JobOptions(), TODAY, QUIET, lambda _: Unseen())
    (job,) = (job for job in runs.plan.graph.jobs.values() if job.kind == "step")
    message = f"1 of 3 tests of step `nvrtc` of `first` in `{CELL}` failed"
    assert results[job.id].message.startswith(message)
    stored = runs.records.find(job)
    assert stored
    assert [(row.name, row.state) for row in stored.record.outcomes] == [
        ("nvrtc: ./one on h100", "passed"),
        ("nvrtc: ./two on h100", "failed"),
        ("nvrtc: ./three on h100", "skipped"),
    ]
    assert stored.record.outcomes[2].message == "not run, as `./two` failed"
    directory = engine.root / "build" / CELL / "first"
    assert {"nvrtc-on-h100.log", "nvrtc.2-on-h100.log"} <= {
        file.name for file in directory.iterdir()
    }


@pytest.mark.parametrize("libraries", [STEPS], indirect=True)
def test_a_step_without_a_compilation_compiles_nothing(engine: Workspace, tmp_path: Path) -> None:
    place = with_gpus()
    results = done(engine, place, tmp_path, "step", steps=["docs"])
    assert states(results) == {"step first docs": "done"}
    assert "compile first" not in results
    assert len(place.executor.tasks) == 1


@pytest.mark.parametrize("libraries", [STEPS], indirect=True)
def test_a_tier_has_the_steps_from_the_first_one_on(engine: Workspace, tmp_path: Path) -> None:
    results = done(engine, with_gpus(H100), tmp_path, "step", "pr")
    assert {*states(results)} == {"step first nvrtc on-h100", "step first install"}


@pytest.mark.parametrize("libraries", [STEPS], indirect=True)
def test_an_unknown_step_is_an_error_with_a_suggestion(engine: Workspace) -> None:
    selection = JobSelection("step", [CELL], steps=["nvrt"])
    with pytest.raises(ConfigurationError) as caught:
        plan_jobs(engine, selection, Resources(8, 32 << 30), QUIET)
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == (
        "no library has a step `nvrt`",
        "did you mean `nvrtc`?",
    )


@pytest.mark.parametrize("libraries", [STEPS], indirect=True)
@pytest.mark.usefixtures("engine")
def test_why_names_the_step_that_requires_a_machine(envmatrix: Prompt) -> None:
    assert "  step nvrtc needs h100\n" in envmatrix("why", CELL, "--library", "first").out


@pytest.mark.parametrize("libraries", [f"{STEPS}  second: {{path: first}}\n"], indirect=True)
@pytest.mark.usefixtures("engine")
def test_a_step_of_other_libraries_is_named(envmatrix: Prompt) -> None:
    answer = envmatrix("step", CELL, "--step", "nvrtc", "--library", "second")
    assert "no selected library has a step `nvrtc`" in answer.err


@pytest.mark.parametrize("libraries", [f"{STEPS}  second: {{path: first}}\n"], indirect=True)
@pytest.mark.usefixtures("engine")
def test_a_step_that_no_library_has_in_a_cell_is_an_error_before_images(envmatrix: Prompt) -> None:
    answer = envmatrix("run", "step", "nvrtc", CELL, "--library", "second")
    assert answer.status == 2
    assert f"no selected library has step `nvrtc` in `{CELL}`" in answer.err
    assert "devel" not in answer.err


@pytest.mark.parametrize(
    ("libraries", "verb"),
    [(ON_TWO, ["test"]), (STEPS, ["step", "nvrtc"])],
    indirect=["libraries"],
)
def test_what_this_machine_cannot_run_is_skipped_before_images(
    envmatrix: Prompt, engine: Workspace, verb: Sequence[str]
) -> None:
    (engine.root / "dockerfiles").rename(engine.root / "gone")
    answer = envmatrix("run", *verb, CELL)
    assert (answer.status, answer.out) == (77, "")
    assert answer.err.startswith("skipped: needs h100: ")
    assert not (engine.root / "build").exists()


ELSEWHERE = """\
libraries:
  first: {path: first, cells: "*-x86_64"}
  second:
    path: second
    test: none
    steps: {nvrtc: {commands: ["true"], runs_on: {gpu: h100, cells: "*-aarch64"}}}
"""


@pytest.mark.parametrize("libraries", [ELSEWHERE], indirect=True)
@pytest.mark.usefixtures("engine")
def test_a_step_without_a_machine_in_a_cell_is_skipped(envmatrix: Prompt) -> None:
    answer = envmatrix("run", "step", "nvrtc", CELL, "--library", "second")
    assert answer.status == 77
    assert f"skipped: `runs_on` of step `nvrtc` has no machine for `{CELL}`" in answer.err


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
@pytest.mark.usefixtures("engine")
def test_a_plan_says_what_jobs_require_and_what_this_machine_lacks(envmatrix: Prompt) -> None:
    text = envmatrix("plan", "--jobs", CELL).out
    assert re.search(rf"skipped +test first {CELL} on-h100", text)
    assert f"unmet    test first {CELL} on-h100: needs h100: no NVIDIA driver is loaded" in text
    assert ", 2 skipped, " in text
    rows = json.loads(envmatrix("plan", "--jobs", CELL, "--json").out)["jobs"]
    row = next(row for row in rows if row["subject"][2:] == ["on-h200"])
    assert (row["requires"], row["prospect"]) == ("h200", "skipped")
    assert row["unmet"].startswith("needs h200: no NVIDIA driver")


@pytest.mark.parametrize("libraries", [ON_TWO], indirect=True)
@pytest.mark.usefixtures("engine")
def test_why_says_what_a_library_requires_and_whether_this_machine_has_it(
    envmatrix: Prompt,
) -> None:
    text = envmatrix("why", CELL, "--library", "first").out
    assert "  test needs h100\n    ok  machine: h100\n    ok  code: compiled for" in text
    assert "  benchmark needs h200\n" in text
    assert text.count("    no  this machine: no NVIDIA driver is loaded") == 3
    (row,) = json.loads(envmatrix("why", CELL, "--library", "first", "--json").out)
    assert [(each["for"], each["requires"]) for each in row["machines"]] == [
        ("test", "h100"),
        ("test", "h200"),
        ("benchmark", "h200"),
    ]


@pytest.mark.parametrize("libraries", [STEPS], indirect=True)
@pytest.mark.usefixtures("engine")
def test_the_command_of_a_job_of_a_step_is_one_that_the_command_line_takes(
    envmatrix: Prompt,
) -> None:
    rows = json.loads(envmatrix("plan", "--jobs", CELL, "--json").out)["jobs"]
    commands = [row["command"] for row in rows if row["kind"] == "step"]
    assert ["envmatrix", "run", "step", "docs", CELL, "--library", "first"] in commands
    refusal = envmatrix("run", "step", "doc", CELL, "--library", "first")
    assert refusal.status == 2
    assert "did you mean `docs`?" in refusal.err


def test_the_shard_of_a_job_is_what_follows_its_machine() -> None:
    job = Job("a", "test", ("lib", CELL, "1/2"))
    assert job.shard == "1/2"
    assert Job("a", "step", ("lib", CELL, "nvrtc"), step="nvrtc").shard == ""
