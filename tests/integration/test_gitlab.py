"""The files for GitLab CI: by GitLab's schema, and run by gitlab-ci-local. A stand-in for envmatrix
does jobs as they say themselves, so that each state is seen within seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from tests.gitlab import RanPipeline, expanded, jobs_of, planned_jobs, run_pipeline

from envmatrix import __version__
from envmatrix.pipeline.gitlab import Installation, child_pipeline
from envmatrix.pipeline.model import Pipeline, PipelineJob, Runner, Trigger, document
from envmatrix.render.gitlab import FILE, template

TRUSTED = Trigger()

# Does a job as its `command` says: with these exit codes, one for each attempt.
STAND_IN = """\
#!{python}
import json, os, pathlib, sys

directory = pathlib.Path("build/ci")
group, verb, *arguments = sys.argv[1:]
print("stand-in for envmatrix:", *sys.argv[1:])
for name, value in sorted(os.environ.items()):
    if name.startswith("ENVMATRIX_CI_") or name == "CI_COMMIT_REF_NAME":
        print(name, value.encode().hex())
    if name.startswith(("ENVMATRIX_REGISTRY", "ENVMATRIX_SHARED")):
        print("there is", name)
if verb == "plan":
    directory.mkdir(parents=True)
    for name in ("plan.json", "gitlab.yml"):
        (directory / name).write_text(pathlib.Path(name).read_text())
    sys.exit()
jobs = json.loads((directory / "plan.json").read_text())["jobs"]
outcomes = {{path.parent.name: path.read_text() for path in directory.glob("jobs/*/outcome.json")}}
if verb == "report":
    missing = [job["id"] for job in jobs if job["id"] not in outcomes]
    (directory / "summary.md").write_text(f"{{len(jobs)}} jobs, {{len(missing)}} missing")
    sys.exit(1 if missing or set(outcomes.values()) - {{"0"}} else 0)
(job,) = [job for job in jobs if job["id"] == arguments[0]]
attempt = int(arguments[arguments.index("--attempt") + 1])
if absent := [need for need in job["needs"] if need not in outcomes]:
    print("no result of", absent)
    sys.exit(75)
codes = job["command"]
code = codes[min(attempt, len(codes)) - 1]
print("attempt", attempt, "ends with", code)
own = directory / "jobs" / job["id"]
own.mkdir(parents=True)
(own / "outcome.json").write_text(code)
sys.exit(int(code))
"""
# Keeps what it was told.
DOCKER = """\
#!/bin/sh
echo "$@" "$(cat)" "$(stat -c %a "$DOCKER_CONFIG" 2>/dev/null)" "$(pwd)" >> {log}
"""


def job(name: str, stage: str, *codes: int, needs: Sequence[PipelineJob] = ()) -> PipelineJob:
    return PipelineJob(
        id=sha256(name.encode()).hexdigest(),
        name=name,
        kind="compile" if stage == "compile" else "test",
        stage="compile" if stage == "compile" else "test",
        library="lib",
        cell="cuda13.5-debian12-x86_64",
        needs=tuple(need.id for need in needs),
        runner="x86_64",
        minutes=10,
        tier="pr",
        reason="",
        command=tuple(map(str, codes or (0,))),
    )


class Repository:
    """A repository that includes the template, and a machine on which envmatrix is installed."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "repository"
        self.programs = directory / "cache"
        self.docker_log = directory / "docker.log"
        name = f"envmatrix-ci/{__version__}/bin/envmatrix"
        self._write(name, STAND_IN.format(python=sys.executable))
        self._write("bin/docker", DOCKER.format(log=self.docker_log))
        (self.programs / name).parents[1].joinpath("ready").touch()

    def _write(self, name: str, text: str) -> None:
        program = self.programs / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)

    def commit(
        self, *jobs: PipelineJob, trigger: Trigger = TRUSTED, branch: str = "main"
    ) -> Repository:
        runners = {"x86_64": Runner("x86_64", "amd64", gitlab=("docker",))}
        installation = Installation(__version__, "registry.example:5000")
        files = {
            FILE: template(installation, ["docker"], "a template"),
            ".gitlab-ci.yml": yaml.dump({"include": [{"local": FILE}]}),
            "plan.json": document(Pipeline("", trigger, jobs, runners)),
            "gitlab.yml": child_pipeline(Pipeline("", trigger, jobs, runners), installation),
        }
        self.commit_files(files, branch)
        return self

    def commit_files(self, files: Mapping[str, str], branch: str = "main") -> None:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        for command in (
            ["init", "-q", "-b", branch],
            ["remote", "add", "origin", "https://gitlab.example/group/project.git"],
            ["add", "."],
            [*identity, "commit", "-q", "-m", "all"],
        ):
            subprocess.run(["git", *command], cwd=self.root, check=True)

    def run(self, **variables: str) -> tuple[RanPipeline, RanPipeline]:
        """Return the pipeline and its child."""
        path = f"{self.programs}/bin:{os.environ['PATH']}"
        environment = {"XDG_CACHE_HOME": str(self.programs), "PATH": path}
        ran = run_pipeline(self.root, variables, environment)
        assert ran.child is not None
        return ran, ran.child


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def states_of(pipeline: RanPipeline) -> Mapping[str, str]:
    return {name: job.state for name, job in pipeline.jobs.items()}


def test_jobs_get_what_others_left_and_each_state_is_the_one_of_its_job(
    repository: Repository,
) -> None:
    good, bad = job("compile good", "compile"), job("compile bad", "compile", 1)
    ends: Sequence[tuple[PipelineJob, str, Sequence[int]]] = (
        (good, "success", [0]),
        (bad, "failed", [1]),
        (job("test good", "test", needs=[good]), "success", [0]),
        (job("test again", "test", 75, 0, needs=[good]), "success", [75, 0]),
        (job("test never", "test", 75, 75, needs=[good]), "failed", [75, 75]),
        (job("test bad", "test", needs=[bad]), "skipped", []),
    )
    ran, child = repository.commit(*(row for row, _, _ in ends)).run()

    assert states_of(ran) == {"envmatrix-plan": "success"}
    for row, state, codes in ends:
        assert (child.jobs[row.name].state, child.jobs[row.name].codes) == (state, codes)
    assert child.jobs["envmatrix"].state == ran.state == "failed"
    summary = child.jobs["envmatrix"].artifacts / "build/ci/summary.md"
    assert summary.read_text() == "6 jobs, 1 missing"
    assert "--attempt 2" in child.jobs["test again"].log


@pytest.mark.long
def test_a_pipeline_without_jobs_is_reported(repository: Repository) -> None:
    ran, child = repository.commit().run()

    assert ran.state == "success"
    assert [*child.jobs] == ["plan", "envmatrix"]
    assert "ci report" in child.jobs["envmatrix"].log


HOSTILE = "$(touch pwned) `touch pwned` ${CI_JOB_ID} '\" \\ *x !y &z %0A ::error:: <b> 😀"


SECRETS = {
    "ENVMATRIX_REGISTRY_USERNAME": "robot",
    "ENVMATRIX_REGISTRY_PASSWORD": "planted-password",
    "ENVMATRIX_SHARED_CACHE": "redis://:planted-key@cache.example:6379",
}


def test_hostile_names_and_inputs_arrive_as_text_and_secrets_leave_no_trace(
    repository: Repository,
) -> None:
    name = f"test {HOSTILE}"
    branch = "a/$(touch-pwned)`id`'\";&|<>#é"
    repository.commit(job(name, "test"), branch=branch)
    # GitLab expands variables in values of variables, unless `$` is doubled.
    ran, child = repository.run(ENVMATRIX_CI_CELLS=HOSTILE.replace("$", "$$"), **SECRETS)

    assert ran.state == "success", child
    log = ran.jobs["envmatrix-plan"].log
    assert f"ENVMATRIX_CI_CELLS {HOSTILE.encode().hex()}" in log
    assert f"CI_COMMIT_REF_NAME {branch.encode().hex()}" in log
    assert not [*repository.root.rglob("pwned")]

    login = "login registry.example:5000 --username robot --password-stdin planted-password 700"
    assert login in repository.docker_log.read_text()
    assert "there is ENVMATRIX_SHARED_CACHE" in child.jobs[name].log
    assert "there is ENVMATRIX_REGISTRY_PASSWORD" not in child.jobs[name].log
    assert not (child.jobs[name].checkout / "build/ci/docker").exists()
    for each in (*ran.jobs.values(), *child.jobs.values()):
        assert "planted" not in each.log


@pytest.mark.long
def test_a_fork_has_no_secrets_and_does_not_log_in(repository: Repository) -> None:
    fork = Trigger("pull_request", is_trusted=False)
    ran, child = repository.commit(job("test", "test"), trigger=fork).run(**SECRETS)

    assert ran.state == "success"
    assert not repository.docker_log.exists()
    assert "there is ENVMATRIX_REGISTRY_PASSWORD" not in child.jobs["test"].log
    assert "there is ENVMATRIX_SHARED_CACHE" not in child.jobs["test"].log


@pytest.mark.long
def test_pipelines_run_for_merge_requests_and_the_default_branch_and_people(
    repository: Repository,
) -> None:
    root = repository.commit().root
    default = {"CI_DEFAULT_BRANCH": "main"}
    runs = {
        source: bool(planned_jobs(root, {"CI_PIPELINE_SOURCE": source, **default}))
        for source in ("merge_request_event", "push", "schedule", "web", "parent_pipeline")
    }
    branch = {"CI_PIPELINE_SOURCE": "push", "CI_DEFAULT_BRANCH": "other"}

    assert runs == {
        "merge_request_event": True,
        "push": True,
        "schedule": True,
        "web": True,
        "parent_pipeline": False,
    }
    assert planned_jobs(root, branch) == []


@pytest.mark.long
def test_the_template_is_a_component(repository: Repository) -> None:
    text = template(Installation(__version__), ["docker"], "a template")
    include = {
        "component": "$CI_SERVER_FQDN/$CI_PROJECT_PATH/envmatrix@$CI_COMMIT_SHA",
        "inputs": {"stage": "build", "tags": ["a", "b"]},
    }
    repository.commit_files(
        {"templates/envmatrix.yml": text, ".gitlab-ci.yml": yaml.dump({"include": [include]})}
    )
    jobs = jobs_of(expanded(repository.root))

    assert jobs["envmatrix-plan"]["tags"] == ["a", "b"]
    assert jobs["envmatrix-plan"]["stage"] == jobs["envmatrix"]["stage"] == "build"
