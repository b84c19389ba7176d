"""A pipeline of an adopter's repository in each engine: act for GitHub Actions, gitlab-ci-local for
GitLab CI, and a fake of Jenkins. None is the engine's own runner."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests import github, gitlab
from tests.adopter import Adopter, machine
from tests.ci.pipelines import Ended, skipped, states_of
from tests.jenkins import Settings, run_jenkinsfile

from envmatrix.pipeline.model import pipeline_of

SITE = "site"
Engine = Callable[[Adopter, Path], Ended]


def on_site(adopter: Adopter, directory: Path) -> Adopter:
    """Return a clone of a repository with a machine and a store of results of its own; all that
    jobs need is in the directory."""
    site = directory / SITE
    root = adopter.clone(site / "repository")
    wheels = site / "wheels"
    shutil.copytree(adopter.wheels, wheels, copy_function=os.link)
    variables = {
        **adopter.variables,
        **machine(site),
        "ENVMATRIX_RESULTS": f"sqlite:///{site}/results.sqlite",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_INDEX": "1",
    }
    return replace(adopter, root=root, variables=variables)


def in_github(adopter: Adopter, directory: Path, image: str | None = None) -> Ended:
    """Run the workflow for a push, on this machine or in containers of an image."""
    site = on_site(adopter, directory)
    artifacts, tools = site.root.parent / "artifacts", site.root.parent / "tools"
    for place in (artifacts, tools):
        place.mkdir()
    runner = github.Machine(artifacts, tools, site.variables, {}, image)
    jobs = github.run_workflow(site.root, "workflow_dispatch", {"inputs": {}}, runner)
    results = {job.id: job.result for job in jobs}
    log = "".join(f"{job.name}: {job.result}\n{job.log}" for job in jobs)
    return _ended(site, artifacts, results.get("envmatrix") == "success", log)


def in_gitlab(adopter: Adopter, directory: Path) -> Ended:
    """Run the pipeline of a person, and its child."""
    site = on_site(adopter, directory)
    ran = gitlab.run_pipeline(site.root, {"CI_PIPELINE_SOURCE": "web"}, site.environment)
    jobs = {**ran.jobs, **(ran.child.jobs if ran.child else {})}
    log = "".join(f"{name}: {job.state}\n{job.log}" for name, job in jobs.items())
    artifacts = site.root.parent / "artifacts"
    for number, job in enumerate(jobs.values()):
        if job.artifacts.exists():
            shutil.copytree(job.artifacts, artifacts / f"{number:03}")
    return _ended(site, artifacts, ran.state == "success", log)


def in_jenkins(adopter: Adopter, directory: Path, groovy: str = "2.4") -> Ended:
    """Build a branch, on two nodes."""
    site = on_site(adopter, directory)
    settings = Settings(site.variables)
    build = run_jenkinsfile(site.root, groovy, site.root.parent / "jenkins", settings)
    return _ended(site, build.archive, build.result == "SUCCESS", build.log)


def _ended(site: Adopter, artifacts: Path, is_green: bool, log: str) -> Ended:
    plan = min(artifacts.rglob("plan.json"))
    pipeline = pipeline_of(plan.read_text(), str(plan))
    states: Mapping[str, str] = {**skipped(pipeline), **states_of(artifacts)}
    return Ended(states, is_green, log, site.root.parent / "results.sqlite")


# By their names in tables. Containers of the image of a runner are given to `in_github`.
ENGINES: Mapping[str, Engine] = {
    "GitHub": in_github,
    "GitLab": in_gitlab,
    "Jenkins": in_jenkins,
}
