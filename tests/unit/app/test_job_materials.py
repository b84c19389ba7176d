"""The jobs that are left where images, bases or files are there, with an engine that has images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fake_engine import image_id
from tests.unit.app.conftest import CELL

from envmatrix.app.images import plan_actions
from envmatrix.app.job_materials import without_present
from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.images.environments import base_image
from envmatrix.jobs.execution import goals_of, remaining
from envmatrix.jobs.model import Graph, Resources
from envmatrix.lock.model import Artifact
from envmatrix.machine.cache import cache_directory
from envmatrix.plan.actions import Action
from envmatrix.store.artifacts import Store
from envmatrix.store.image_records import ImageRecords

MACHINE = Resources(2, 8 << 30)

CROSSED = "cuda13.0-debian12-aarch64"
BASE = "debian12-arm64-base"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a cache of its own, which no test before wrote to."""
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path / "cache"))


def actions_of(workspace: Workspace, cell: str) -> Sequence[Action]:
    return plan_actions(workspace, workspace.images([cell]), Console(-1))


def left(workspace: Workspace, cell: str, actions: Iterable[Action] | None = None) -> Graph:
    """Return the jobs that are left to test a cell."""
    graph = plan_jobs(workspace, JobSelection("test", [cell]), MACHINE, Console(-1)).graph
    chosen = actions_of(workspace, cell) if actions is None else actions
    trimmed, present = without_present(graph, [*chosen], workspace)
    return remaining(trimmed, goals_of(graph, "test"), present)


def subjects(graph: Graph, kind: str) -> set[str]:
    return {" ".join(job.subject) for job in graph.jobs.values() if job.kind == kind}


def keep(*files: Artifact) -> None:
    """Have files of the right sizes in the store."""
    for file in files:
        path = Store.of_user().path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b" " * file.size)


def test_a_present_image_needs_no_download_and_no_base(engine: Workspace) -> None:
    kinds = Counter(job.kind for job in left(engine, CELL).jobs.values())
    assert kinds.keys() == {"source", "compile", "test"}


def test_an_image_to_pull_needs_no_download_and_no_base(engine: Workspace) -> None:
    pulls = [replace(action, verb="pull") for action in actions_of(engine, CROSSED)]
    graph = left(engine, CROSSED, pulls)
    assert len(subjects(graph, "image")) == 2
    assert subjects(graph, "download") | subjects(graph, "base") == set()


def test_an_image_that_lacks_only_a_name_needs_nothing(engine: Workspace) -> None:
    renamed = [replace(action, is_current=False) for action in actions_of(engine, CELL)]
    graph = left(engine, CELL, renamed)
    assert len(subjects(graph, "image")) == 2
    assert subjects(graph, "download") == set()


def test_an_image_to_build_needs_the_files_and_bases_that_are_missing(engine: Workspace) -> None:
    graph = left(engine, CROSSED)
    assert subjects(graph, "base") == {BASE, "debian12-amd64-base"}
    sets = engine.lock.sets
    keep(*sets[BASE].artifacts)
    assert subjects(left(engine, CROSSED), "download") == subjects(graph, "download") - {BASE}


def test_a_download_takes_the_time_for_the_files_that_are_missing(engine: Workspace) -> None:
    files = engine.lock.sets[BASE].artifacts
    keep(*files[1:])
    jobs = left(engine, CROSSED).jobs.values()
    (job,) = (job for job in jobs if job.kind == "download" and job.subject == (BASE,))
    plan = plan_jobs(engine, JobSelection("test", [CROSSED]), MACHINE, Console(-1))
    assert 0 < job.seconds < plan.graph.jobs[job.id].seconds


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_base_of_the_engine_is_taken_if_this_user_made_it(
    engine: Workspace, tmp_path: Path, is_recorded: bool
) -> None:
    name = base_image(BASE, engine.lock.sets[BASE])
    with (tmp_path / "engine/images").open("a") as images:
        images.write(f"{json.dumps([[name], image_id(name), {}])}\n")
    if is_recorded:
        ImageRecords(cache_directory()).note(name, image_id(name), is_ours=True)
    graph = left(engine, CROSSED)
    assert (BASE in subjects(graph, "base")) == (not is_recorded)
    assert (BASE in subjects(graph, "download")) == (not is_recorded)
