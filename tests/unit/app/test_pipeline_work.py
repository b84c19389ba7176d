"""Jobs of a pipeline are the same on the machine that plans them and on those that run them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from tests.fakes import FLAVOURS
from tests.unit.app.conftest import Elsewhere, repository

from envmatrix.app import host_health
from envmatrix.app.pipeline_files import PipelineFiles
from envmatrix.app.pipeline_plan import plan_for, write_plan
from envmatrix.app.pipeline_run import run_job
from envmatrix.app.pipeline_work import PipelineWork, RunnerPlace, RunOptions
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.doctor.findings import HostCheck
from envmatrix.engine.gpu import NoGpu
from envmatrix.errors import EngineError
from envmatrix.jobs.model import Resources
from envmatrix.machine.resources import host_arch
from envmatrix.pipeline.model import Runner, Trigger

QUIET = Console(-1)
# Every kind of jobs: needs, variants, a library that is only compiled, steps, and a benchmark.
RICH = """\
ci:
  runners:
    plain: {github: [ubuntu-24.04]}
    gpus: {gpu: h100, gpus: 1, github: [self-hosted]}
libraries:
  base:
    path: first
    build: {system: script, commands: ["true"], install: ["true"]}
  first:
    path: first
    needs: [base]
    build: {system: script, commands: ["true"]}
    test: {framework: commands, run: ["true"], runs_on: {gpu: h100}}
    benchmark: {program: bench}
    steps: {nvrtc: {commands: ["true"]}}
    variants: {std: ["17", "20"]}
  second:
    path: second
    build: {system: script, commands: ["true"]}
    test: {framework: commands, run: ["true"]}
    benchmark: {program: bench}
"""


def planned(
    root: Path, text: str, scratch: Path, trigger: Trigger
) -> tuple[Workspace, PipelineFiles]:
    workspace = repository(root, scratch, text)
    files = PipelineFiles.of(workspace, None)
    write_plan(files.directory, plan_for(workspace, None, trigger, files.directory, QUIET))
    return workspace, files


def work(workspace: Workspace, files: PipelineFiles, key: str) -> PipelineWork:
    options = RunOptions(1, date(2026, 1, 1), QUIET, lambda _: pytest.fail("nothing runs"))
    return PipelineWork(workspace, files, files.job(key), options)


@pytest.mark.parametrize("tier", [None, "pr", "nightly", "weekly"])
def test_every_job_of_a_plan_is_planned_again_where_it_runs(
    tmp_path: Path, tier: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = "flavour: analysis\nextends: devel\npackages: [cppcheck]\n"
    monkeypatch.setitem(FLAVOURS, "analysis", analysis)
    monkeypatch.setenv("ENVMATRIX_REGISTRY", "registry.example/images")
    trigger = Trigger("manual", tier)
    workspace, files = planned(tmp_path / "repository", RICH, tmp_path / "scratch", trigger)
    jobs = [job for job in files.pipeline.jobs if job.prospect == "to do"]
    assert {job.kind for job in jobs} >= {"image", "compile", "test", "step", "analyse"}
    for job in jobs:
        runner = files.pipeline.runners[job.runner]
        place = Elsewhere(Resources(8, 32 << 30, runner.gpus))
        if runner.arch == host_arch():
            plan = work(workspace, files, job.id).planned(runner, place)
            assert [*plan.graph.jobs][-1] == job.id


@pytest.fixture
def files(engine: Workspace) -> PipelineFiles:
    files = PipelineFiles.of(engine, None)
    write_plan(files.directory, plan_for(engine, None, Trigger(), files.directory, QUIET))
    return files


def test_a_runner_that_is_not_as_its_class_says_is_a_failure_of_the_infrastructure(
    engine: Workspace, files: PipelineFiles
) -> None:
    job = files.pipeline.jobs[0]
    runner = Runner("big", host_arch(), gpus=1)
    with pytest.raises(EngineError, match="has no GPU"):
        work(engine, files, job.id).planned(runner, Elsewhere(Resources(8, 32 << 30)))
    others = {job.runner: Runner(job.runner, "riscv64")}
    other = replace(files.pipeline, runners={**files.pipeline.runners, **others})
    write_plan(files.directory, other)
    with pytest.raises(EngineError, match="is for riscv64, and this runner"):
        work(engine, PipelineFiles(files.directory), job.id).do()


def test_a_machine_that_lacks_something_is_a_failure_of_the_infrastructure_that_says_what_to_do(
    engine: Workspace, files: PipelineFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(_: object) -> list[HostCheck]:
        return [HostCheck("buildx", ok=False, message="not installed", hint="run this")]

    monkeypatch.setattr(host_health, "is_ready", lambda: False)
    monkeypatch.setattr(host_health, "diagnose", lacks)
    options = RunOptions(1, date(2026, 1, 1), QUIET, lambda _: pytest.fail("nothing runs"))
    outcome = run_job(engine, files, files.pipeline.jobs[0].id, options)
    assert outcome.state == "infrastructure"
    assert outcome.message == "this machine cannot build images: `buildx` not installed; run this"


def test_tests_have_no_gpu_that_the_class_does_not_have() -> None:
    place = RunnerPlace(Runner("plain", host_arch()), {})
    assert place.choose_gpu() == NoGpu("runners of the class `plain` have no GPU")
    assert not place.retries_tasks
