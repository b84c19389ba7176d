"""Libraries with packages of their own and archives: their sessions, jobs and images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.app.conftest import CELL, repository

from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.generated_files import ConsumerRequest, write_consumer
from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.library_runs import build_context, locked_build, recorded_run
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.jobs.model import Job, Resources
from envmatrix.lock.model import COMMIT, Lock
from envmatrix.plan.matrix_diff import State, library_change

TEST = 'build: {system: script, commands: ["true"]}, test: {framework: commands, run: ["true"]}'
PLAIN = f"libraries:\n  first: {{path: first, {TEST}}}\n  second: {{path: second, {TEST}}}\n"
PACKAGES = PLAIN.replace("path: second", "path: second, packages: {deb: [libhwloc-dev]}")
INSTALLED = TEST.replace('commands: ["true"]', 'commands: ["true"], install: ["true"]', 1)
NEEDED = f"""\
libraries:
  first: {{path: first, packages: {{deb: [libhwloc-dev]}}, {INSTALLED}}}
  second: {{path: second, needs: [first], {TEST}}}
"""
ARCHIVES = PLAIN.replace(
    "path: second",
    "path: second, archives: {fmt: {git: 'https://h.example/fmt', revision: main}}",
)


def arguments(*libraries: str) -> CellArguments:
    return {
        "name": CELL,
        "libraries": libraries,
        "emulate": False,
        "jobs": None,
        "memory": 64_000,
    }


def jobs_of(workspace: Workspace, *libraries: str) -> Mapping[str, Job]:
    selection = JobSelection("test", [CELL], libraries=libraries)
    plan = plan_jobs(workspace, selection, Resources(4, 16 << 30), Console(-1))
    return {str(job): job for job in plan.graph.jobs.values()}


def jobs_with(root: Path, rest: str) -> Mapping[str, Job]:
    return jobs_of(repository(root / "repository", root / "scratch", rest))


@pytest.mark.parametrize("libraries", [PACKAGES], indirect=True)
def test_each_library_of_a_session_has_its_images(engine: Workspace) -> None:
    session = open_session(Console(), **arguments())
    contexts = [build_context(session, library) for library in session.libraries]
    assert [context.compiler.name for context in contexts] == ["devel", "devel-for-second"]
    assert [context.build.name for context in contexts] == ["devel", "devel"]
    runtimes = [context.runtime and context.names[context.runtime] for context in contexts]
    assert all(runtimes)
    assert runtimes[0] != runtimes[1]


@pytest.mark.parametrize("libraries", [PACKAGES], indirect=True)
def test_only_images_of_the_libraries_of_a_session_have_to_be_there(engine: Workspace) -> None:
    first = open_session(Console(), **arguments("first"))
    assert {image.library for image in first.names} == {""}
    second = open_session(Console(), **arguments("second"))
    assert {image.library for image in second.names} == {"second"}
    by_hand = open_session(Console(), only_first=True, **arguments())
    assert {image.library for image in by_hand.names} == {""}


@pytest.mark.parametrize("libraries", [NEEDED], indirect=True)
def test_the_image_to_compile_a_needed_library_in_has_to_be_there(engine: Workspace) -> None:
    session = open_session(Console(), **arguments("second"))
    assert {image.name for image in session.names} == {"devel-for-first", "devel", "runtime"}


def test_jobs_of_other_libraries_stay_as_they_are(tmp_path: Path) -> None:
    before, after = (
        jobs_with(tmp_path / name, rest) for name, rest in (("a", PLAIN), ("b", PACKAGES))
    )
    for name in (f"compile first {CELL}", f"test first {CELL}"):
        assert before[name].id == after[name].id
    assert before[f"compile second {CELL}"].id != after[f"compile second {CELL}"].id
    assert any("devel-for-second" in name for name in after)


def test_a_needed_library_is_compiled_in_its_own_image(tmp_path: Path) -> None:
    workspace = repository(tmp_path / "repository", tmp_path / "scratch", NEEDED)
    every, selected = jobs_of(workspace), jobs_of(workspace, "second")
    name = f"compile first {CELL}"
    assert selected[name] == every[name]
    assert {key for key, job in selected.items() if job.kind == "image"} <= every.keys()
    assert any("devel-for-first" in key for key in selected)


def test_an_archive_is_an_input_of_the_library_that_has_it(tmp_path: Path) -> None:
    before, after = (
        jobs_with(tmp_path / name, rest) for name, rest in (("a", PLAIN), ("b", ARCHIVES))
    )
    assert before[f"compile first {CELL}"].id == after[f"compile first {CELL}"].id
    assert before[f"compile second {CELL}"].id != after[f"compile second {CELL}"].id


def test_a_changed_archive_changes_the_job(tmp_path: Path) -> None:
    workspace = repository(tmp_path / "repository", tmp_path / "scratch", ARCHIVES)
    name = f"compile second {CELL}"
    before = jobs_of(workspace)[name].id
    key = "library-second+archive-fmt"
    changed = replace(workspace.lock.sets[key], versions={COMMIT: "0" * 40})
    sets = {**workspace.lock.sets, key: changed}
    other = Workspace(workspace.root)
    other.__dict__["lock"] = Lock(workspace.lock.epoch, sets)
    assert jobs_of(other)[name].id != before


def test_a_library_changes_with_its_packages_and_archives(tmp_path: Path) -> None:
    for rest, key in ((ARCHIVES, "+archive-fmt"), (PACKAGES, "+packages-debian12-amd64-runtime")):
        root = tmp_path / key
        workspace = repository(root / "repository", root / "scratch", rest)
        first, second = workspace.matrix.libraries
        before = State(workspace.matrix, workspace.lock)
        name = f"library-second{key}"
        changed = replace(workspace.lock.sets[name], versions={COMMIT: "0" * 40})
        sets = {**workspace.lock.sets, name: changed}
        after = State(workspace.matrix, Lock(workspace.lock.epoch, sets))
        assert library_change(first, before, after) is None
        assert library_change(second, before, after) == "what it is built and tested with changed"


def test_a_build_is_of_flavours_and_of_libraries(tmp_path: Path) -> None:
    workspace = repository(tmp_path / "repository", tmp_path / "scratch", PACKAGES)
    names = {image.name for image in workspace.images([CELL])}
    assert names == {"devel", "runtime", "devel-for-second", "runtime-for-second"}
    assert {image.name for image in workspace.images_of_hosts([CELL])} >= names


WITH_DEV = f"{ARCHIVES}policy: {{dev_images: on}}\n"


@pytest.mark.parametrize("libraries", [WITH_DEV], indirect=True)
def test_a_local_container_has_the_archives_of_its_library(engine: Workspace) -> None:
    write_consumer(engine, ConsumerRequest("devcontainer", (CELL,), is_local=True), Console(-1))
    texts = {
        name: (engine.root / f".devcontainer/{CELL}-{name}/devcontainer.json").read_text()
        for name in ("first", "second")
    }
    mounts = json.loads(texts["second"].split("\n", 1)[1])["mounts"]
    (mount,) = (text for text in mounts if "target=/archives/fmt" in text)
    assert mount.endswith("readonly")
    assert "/archives" not in texts["first"]


@pytest.mark.parametrize(
    "libraries", [PACKAGES.replace("libhwloc-dev", "zlib1g-dev")], indirect=True
)
def test_a_package_is_suggested_to_libraries_without_it(engine: Workspace) -> None:
    session = open_session(Console(), **arguments())
    suggestions = {}
    for library in session.libraries:
        with (
            locked_build(session, library, "compile") as context,
            recorded_run(session, context, "compile") as (runner, _),
        ):
            assert runner.package_of
            suggestions[library.name] = [runner.package_of(name) for name in ("ZLIB", "PNG", "Own")]
    assert suggestions == {
        "first": ["zlib1g-dev", "libpng-dev", None],
        "second": [None, "libpng-dev", None],
    }
