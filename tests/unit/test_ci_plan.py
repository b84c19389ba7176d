"""`envmatrix ci plan`, with no container engine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes import lock_of, write_repository
from tests.repositories import committed, git
from tests.unit.prompt import Prompt

from envmatrix.jobs.model import Job
from envmatrix.lock.lock_file import dumps
from envmatrix.matrix.loading import load_matrix
from envmatrix.pipeline.model import Pipeline, PipelineJob, pipeline_of
from envmatrix.pipeline.triggers import ENGINES
from envmatrix.results.job_records import JobRecords
from envmatrix.results.location import Location
from envmatrix.results.records import End, Run, line_of
from envmatrix.sessions.outcomes import Step

AXES = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64, aarch64]'
LIBRARIES = """\
libraries:
  own: {path: own, test: {framework: ctest}, benchmark: bench}
  other: {path: other, test: none}
"""
CELL, ARM = "cuda13.0-debian12-x86_64", "cuda13.0-debian12-aarch64"
RUNNERS = """\
ci:
  runners:
    x86: {github: [self-hosted, linux], gitlab: [docker], jenkins: linux}
    arm: {arch: aarch64, github: ubuntu-24.04-arm}
    h100: {gpu: h100, github: [self-hosted, h100]}
"""
# Variables of engines, by which a pipeline would be that of another event.
_ENGINES = re.compile("GITHUB_|GITLAB_|CI_|JENKINS_|CHANGE_|ENVMATRIX_(CI|REGISTRY|RESULTS)")

Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, envmatrix: Prompt) -> Make:
    """A function that makes a repository with more lines in its matrix.yaml, and enters it."""
    import os

    for name in filter(_ENGINES.match, [*os.environ]):
        monkeypatch.delenv(name)
    # Jobs of other tests have the same ids, and records of them would be reused.
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path / "cache"))

    def make_repository(rest: str = "") -> Path:
        root = write_repository(tmp_path / "repository", AXES, LIBRARIES + rest)
        lock = lock_of(load_matrix(root), tmp_path / "scratch")
        (root / "matrix.lock.json").write_text(dumps(lock))
        for name in ("own", "other"):
            (root / name).mkdir()
            (root / name / "CMakeLists.txt").write_text("project(library)\n")
        monkeypatch.chdir(root)
        assert envmatrix("generate", "-q").status == 0
        return root

    return make_repository


def plan(envmatrix: Prompt, *arguments: str) -> Pipeline:
    answer = envmatrix("ci", "plan", "--json", *arguments)
    assert answer.status == 0, answer.err
    return pipeline_of(answer.out, "stdout")


@pytest.mark.parametrize(
    "words",
    [
        ("ci", "plan"),
        ("ci", "report"),
        ("ci", "again"),
        ("ci", "run", "0" * 64),
        ("test",),
        ("run", "compile", CELL),
        ("run", "shell", CELL),
    ],
)
def test_a_committed_link_leads_no_build_out_of_the_repository(
    make: Make, envmatrix: Prompt, tmp_path: Path, words: tuple[str, ...]
) -> None:
    root = committed(make(""))
    (other := tmp_path / "other").mkdir()
    (root / "build").symlink_to(other)
    assert envmatrix("ci", "plan", "--output", "out").status == 0
    committed(root)
    answer = envmatrix(*words)
    assert answer.status == 2
    assert "`build` is a link that git tracks" in answer.err
    assert [*other.iterdir()] == []


def test_a_link_of_a_user_leads_builds_to_another_disk(
    make: Make, envmatrix: Prompt, tmp_path: Path
) -> None:
    root = make("")
    (other := tmp_path / "other").mkdir()
    (root / "build").symlink_to(other)
    (root / ".gitignore").write_text("/build\n")
    committed(root)
    assert envmatrix("ci", "plan").status == 0
    assert (other / "ci/plan.json").is_file()


def without_submodules(root: Path, tmp_path: Path, *places: str) -> Path:
    """Return a clone of a repository with submodules, which are not checked out there."""
    other = committed(tmp_path / "other", {"a.c": ""})
    committed(root)
    for place in places:
        git(root, "submodule", "--quiet", "add", str(other), place)
    git(root, "commit", "--quiet", "--message=submodules")
    git(tmp_path, "clone", "--quiet", str(root), "clone")
    return tmp_path / "clone"


def test_a_submodule_need_not_be_checked_out_where_jobs_are_planned(
    make: Make, envmatrix: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = without_submodules(make(""), tmp_path, "own/inner", "third_party/other")
    monkeypatch.chdir(clone)
    answer = envmatrix("ci", "plan", "--json")
    assert answer.status == 0
    absent = "library `own`: the submodule `own/inner` is not checked out"
    assert f"{absent} here; runners need it" in answer.err
    assert "third_party" not in answer.err
    assert envmatrix("plan", "--jobs", "--library", "other").status == 0
    refused = envmatrix("plan", "--jobs", "--library", "own")
    assert refused.status == 2
    assert absent in refused.err
    assert "`git submodule update --init --recursive`" in refused.err
    git(clone, "submodule", "--quiet", "update", "--init")
    assert envmatrix("ci", "plan", "--json").out == answer.out


def test_a_library_in_a_submodule_cannot_be_planned_without_it(
    make: Make, envmatrix: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make("")
    file = root / "matrix.yaml"
    file.write_text(file.read_text().replace("path: other", "path: third_party/other"))
    monkeypatch.chdir(without_submodules(root, tmp_path, "third_party/other"))
    answer = envmatrix("ci", "plan")
    assert answer.status == 2
    assert "the submodule `third_party/other` is not checked out" in answer.err


def names(pipeline: Pipeline) -> dict[str, str]:
    return {job.name: job.runner for job in pipeline.jobs}


def the(pipeline: Pipeline, name: str) -> PipelineJob:
    (job,) = (job for job in pipeline.jobs if job.name == name)
    return job


def test_every_job_of_the_graph_is_planned_once(make: Make, envmatrix: Prompt) -> None:
    root = make("")
    pipeline = plan(envmatrix)
    assert names(pipeline) == dict.fromkeys(
        [
            *(f"compile {name} {cell}" for name in ("own", "other") for cell in (CELL, ARM)),
            *(f"test own {cell}" for cell in (CELL, ARM)),
        ],
        "x86_64",
    )
    assert pipeline_of((root / "build/ci/plan.json").read_text("utf-8"), "plan.json") == pipeline
    jobs = json.loads(envmatrix("plan", "--jobs", "--json").out)["jobs"]
    ids = {job["id"]: job["command"] for job in jobs if job["kind"] in ("compile", "test")}
    assert {job.id: [*job.command] for job in pipeline.jobs} == ids


def test_an_unchanged_plan_touches_no_file(make: Make, envmatrix: Prompt) -> None:
    file = make("") / "build/ci/plan.json"
    plan(envmatrix)
    before = file.stat()
    plan(envmatrix)
    after = file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_jobs_run_on_machines_of_their_architecture_and_gpu(make: Make, envmatrix: Prompt) -> None:
    make(RUNNERS)
    assert names(plan(envmatrix, "--library", "own")) == {
        f"compile own {CELL}": "x86",
        f"compile own {ARM}": "arm",
        f"test own {CELL}": "h100",
        f"test own {ARM}": "arm",
        f"measure own {CELL}": "h100",
    }
    github, gitlab = (plan(envmatrix, "--engine", name, "--event", "push") for name in ENGINES[:2])
    assert names(github) == names(plan(envmatrix, "--event", "push"))
    assert {*names(gitlab).values()} == {"x86"}
    native, crossed = (the(row, f"compile own {ARM}") for row in (github, gitlab))
    assert native.id != crossed.id
    assert [*native.images] == ["cuda13.0-debian12:devel-arm64"]
    assert [*crossed.images] == ["cuda13.0-debian12:cross-amd64"]


def test_a_test_beside_a_gpu_is_another_job_than_one_without(make: Make, envmatrix: Prompt) -> None:
    make(RUNNERS)
    name = f"test own {CELL}"
    with_gpu, without = plan(envmatrix), plan(envmatrix, "--engine", "jenkins", "--event", "push")
    assert (the(with_gpu, name).runner, the(without, name).runner) == ("h100", "x86")
    assert the(with_gpu, name).id != the(without, name).id
    compilations = {the(row, f"compile own {CELL}").id for row in (with_gpu, without)}
    assert len(compilations) == 1


def test_tests_without_a_gpu_of_the_budget_run_without_one(make: Make, envmatrix: Prompt) -> None:
    make(f"{RUNNERS}tiers: {{pr: {{jobs: 12, gpu_jobs: 0}}}}\n")
    assert names(plan(envmatrix, "--tier", "pr"))[f"test own {CELL}"] == "x86"
    assert names(plan(envmatrix, "--tier", "weekly"))[f"test own {CELL}"] == "h100"


def test_a_requirement_that_no_class_fulfils_is_skipped_with_the_reason(
    make: Make, envmatrix: Prompt
) -> None:
    root = make("")
    matrix = root / "matrix.yaml"
    text = matrix.read_text("utf-8").replace("ctest}", "ctest, runs_on: h100}")
    matrix.write_text(text, "utf-8")
    job = the(plan(envmatrix, "--library", "own", "--select", CELL), f"test own {CELL} on-h100")
    assert (job.prospect, job.reason) == ("skipped", "needs h100: no class of runners has that")
    text = envmatrix("ci", "plan").out
    assert f"skipped  test own {CELL} on-h100: needs h100: no class of runners has that" in text


def test_an_engine_without_a_class_is_an_error(make: Make, envmatrix: Prompt) -> None:
    make("ci: {runners: {arm: {arch: aarch64, github: ubuntu-24.04-arm}}}\n")
    answer = envmatrix("ci", "plan", "--engine", "gitlab", "--event", "push")
    assert answer.status == 2
    assert "no class of runners is for `gitlab`" in answer.err
    job = the(plan(envmatrix), f"test own {CELL}")
    assert (job.prospect, job.reason) == ("skipped", "there is no class of runners of amd64")


def test_a_pull_request_has_what_its_change_affects(
    make: Make, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make("")
    base = git(committed(root), "rev-parse", "HEAD")
    (root / "other/main.cu").write_text("int main() {}\n")
    event = root.parent / "event.json"
    source = {"repo": {"full_name": "us/project"}}
    contents = {"pull_request": {"head": source, "base": {"sha": base}}}
    event.write_text(json.dumps(contents))
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REPOSITORY": "us/project",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pipeline = plan(envmatrix)
    assert {job.library for job in pipeline.jobs} == {"other"}
    assert {job.reason for job in pipeline.jobs} == {"`main.cu` changed"}
    assert (pipeline.trigger.tier, pipeline.trigger.is_trusted) == ("pr", True)
    assert (pipeline.revision, pipeline.saved) == (base, 2 * (60 + 30))
    (root / "other/main.cu").unlink()
    assert plan(envmatrix).jobs == ()
    reason = f"no change since `{base}` affects what is selected"
    assert envmatrix("ci", "plan").out.startswith(f"0 jobs to do: {reason}; ")
    assert f"0 jobs: {reason}; " in envmatrix("ci", "report").out
    contents["pull_request"]["base"] = {"sha": "ab" * 20}
    event.write_text(json.dumps(contents))
    answer = envmatrix("ci", "plan")
    assert re.search("revision `abab.*all cells of the tier are planned", answer.err)
    assert answer.out.endswith("6 jobs to do\n")
    event.write_text("{}")
    assert "the base of the change is not known" in envmatrix("ci", "plan").err
    event.write_text("[")
    answer = envmatrix("ci", "plan")
    assert (answer.status, answer.out) == (2, "")
    assert "`$GITHUB_EVENT_PATH` is no JSON" in answer.err


def test_options_count_before_what_the_engine_says(
    make: Make, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("")
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_PIPELINE_SOURCE", "web")
    monkeypatch.setenv("ENVMATRIX_CI_CELLS", f"{CELL}\n")
    monkeypatch.setenv("ENVMATRIX_CI_LIBRARIES", "own")
    assert {*names(plan(envmatrix))} == {f"compile own {CELL}", f"test own {CELL}"}
    chosen = plan(envmatrix, "--select", ARM, "--library", "other", "--rerun", "all")
    assert {*names(chosen)} == {f"compile other {ARM}"}
    monkeypatch.setenv("ENVMATRIX_CI_CELLS", "$(reboot)")
    answer = envmatrix("ci", "plan")
    assert (answer.status, answer.out) == (3, "")
    assert "`$(reboot)` matches no cell" in answer.err


def keep(job: PipelineJob, state: str) -> None:
    run = Run("1" * 32, job.library, job.cell, "test", started=1.0)
    of_graph = Job(job.id, job.kind, (job.library, job.cell))
    JobRecords.of_user().keep(of_graph, (run, End(state, 9.0)))  # type: ignore[arg-type]


def test_results_on_record_are_reused_unless_they_run_again(make: Make, envmatrix: Prompt) -> None:
    make("")
    name = f"test own {CELL}"
    keep(the(plan(envmatrix), name), "passed")
    pipeline = plan(envmatrix, "--library", "own", "--select", CELL)
    assert [(job.name, job.prospect) for job in pipeline.jobs] == [(name, "reused")]
    assert pipeline.saved == 60 + 30
    again = plan(envmatrix, "--library", "own", "--select", CELL, "--rerun", "all")
    assert {job.prospect for job in again.jobs} == {"to do"}
    states = {job.name: job.prospect for job in plan(envmatrix, "--rerun", "failed").jobs}
    assert states.pop(name) == "reused"
    assert {*states.values()} == {"to do"}  # what has no result is no success
    keep(the(pipeline, name), "failed")
    assert {job.prospect for job in plan(envmatrix, "--rerun", "failed").jobs} == {"to do"}


def test_times_are_limited_by_runs_on_record(make: Make, envmatrix: Prompt) -> None:
    location = Location.of(make(""))
    location.prepare()
    for number, seconds in enumerate((300.0, 60.0)):
        run = Run(f"{number}" * 32, "own", CELL, "test", float(number))
        steps = (Step("compile", 0, seconds, ""), Step("test", 0, 6.0, ""))
        lines = [line_of(part) for part in (run, *steps, End("passed", 66.0))]
        (location.journals / f"{run.id}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    pipeline = plan(envmatrix)
    unknown = the(pipeline, f"compile other {CELL}").minutes
    images = unknown - 60
    assert images > 0
    # Minutes are rounded up once.
    assert the(pipeline, f"compile own {CELL}").minutes in (20 + images, 19 + images)
    assert the(pipeline, f"compile own {ARM}").minutes >= 20
    assert the(pipeline, f"test own {CELL}").minutes < 60


def test_images_are_made_where_there_is_a_registry_and_the_change_is_ours(
    make: Make, envmatrix: Prompt
) -> None:
    make("registry: {repository: registry.example/team/images}\n")
    pipeline = plan(envmatrix, "--select", CELL)
    images = [job for job in pipeline.jobs if job.stage == "images"]
    assert {job.name for job in images} == {
        f"image cuda13.0-debian12:{flavour}-amd64" for flavour in ("devel", "runtime")
    }
    (compilation, *_) = (job for job in pipeline.jobs if job.kind == "compile")
    assert {*compilation.needs} < {job.id for job in images}
    fork = plan(envmatrix, "--select", CELL, "--engine", "github", "--event", "pull_request")
    assert not fork.trigger.is_trusted
    assert "images" not in {job.stage for job in fork.jobs}


def test_people_see_the_number_of_jobs_of_each_stage(make: Make, envmatrix: Prompt) -> None:
    make("")
    assert envmatrix("ci", "plan").out == "compile  4 to do\ntest     2 to do\n6 jobs to do\n"


def test_a_job_that_is_not_to_do_is_named_with_the_reason_and_not_done(
    make: Make, envmatrix: Prompt
) -> None:
    root = make("")
    matrix = root / "matrix.yaml"
    text = matrix.read_text("utf-8").replace("ctest}", "ctest, runs_on: h100}")
    matrix.write_text(text, "utf-8")
    skipped = the(plan(envmatrix), f"test own {CELL} on-h100")
    keep(the(plan(envmatrix), f"compile other {CELL}"), "passed")
    reused = the(plan(envmatrix), f"compile other {CELL}")
    for job in (skipped, reused):
        answer = envmatrix("ci", "run", job.id)
        assert (answer.status, answer.out) == (0, f"{job.prospect:9} {job.name}: {job.reason}\n")
        assert not (root / "build/ci/jobs").exists()


def test_a_plan_of_nothing_that_is_selected_says_so_and_is_not_good(
    make: Make, envmatrix: Prompt
) -> None:
    root = make("")
    matrix = root / "matrix.yaml"
    text = matrix.read_text("utf-8").replace("test: none}", f'test: none, cells: ["{ARM}"]}}')
    matrix.write_text(text, "utf-8")
    reason = "no selected library has a job in a selected cell"
    answer = envmatrix("ci", "plan", "--library", "other", "--select", CELL)
    assert (answer.status, answer.out) == (0, f"0 jobs to do: {reason}\n")
    answer = envmatrix("ci", "report")
    assert (answer.status, answer.out.splitlines()[0]) == (
        1,
        f"failed    the plan: the plan has no job: {reason}",
    )
