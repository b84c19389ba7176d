"""`envmatrix ci run` and `ci report` with real containers, in a checkout for each job."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.integration.conftest import CELL, ENVIRONMENT, Checkout
from tests.integration.test_jobs import add, wait_for
from tests.loopback import Handler, serving
from tests.repositories import committed
from tests.stored_rows import stored_rows

from envmatrix.app.pipeline_files import PLAN, PipelineFiles
from envmatrix.errors import INTERRUPTED, OutOfDate
from envmatrix.pipeline.model import document
from envmatrix.pipeline.outcomes import TEMPORARY_FAILURE, JobOutcome


@pytest.fixture
def jobs(checkout: Checkout, tmp_path: Path) -> Checkout:
    """A checkout with a library, whose results no other test has."""
    configuration = tmp_path / "configuration/envmatrix"
    configuration.mkdir(parents=True)
    (configuration / "config.toml").write_text(f'[jobs]\nrecords = "{tmp_path}/records"\n')
    checkout.variables["XDG_CONFIG_HOME"] = str(tmp_path / "configuration")
    checkout.variables["ENVMATRIX_CI_NODE"] = "first"
    return checkout


def plan(checkout: Checkout, **values: object) -> Mapping[str, str]:
    """Plan the jobs of a checkout, without images and analyses, each with these values; return
    their ids by kind and library."""
    checkout.run("ci", "plan")
    files = PipelineFiles(checkout.root / "build/ci")
    tests = [job for job in files.pipeline.jobs if job.kind == "test"]
    keys = {key for job in tests for key in (job.id, *job.needs)}
    jobs = [
        job for job in files.pipeline.jobs if job.id in keys and job.kind in ("compile", "test")
    ]
    keys = {job.id for job in jobs}
    rows = tuple(
        replace(job, needs=tuple(need for need in job.needs if need in keys), **values)  # type: ignore[arg-type]
        for job in jobs
    )
    (files.directory / PLAN).write_text(document(replace(files.pipeline, jobs=rows)))
    return {f"{job.kind} {job.library}": job.id for job in rows}


def other(checkout: Checkout, directory: Path) -> Checkout:
    """Return a copy of a checkout on another machine, with the plan and without what was done."""
    root = shutil.copytree(
        checkout.root, directory, ignore=shutil.ignore_patterns("build", ".envmatrix")
    )
    (root / "build/ci").mkdir(parents=True)
    shutil.copy(checkout.root / "build/ci/plan.json", root / "build/ci")
    return replace(
        checkout, root=root, variables={**checkout.variables, "ENVMATRIX_CI_NODE": directory.name}
    )


def move(key: str, source: Checkout, target: Checkout) -> None:
    """Carry what a job left to another machine, as an engine does."""
    shutil.copytree(source.root / "build/ci/jobs" / key, target.root / "build/ci/jobs" / key)


def run(checkout: Checkout, key: str, *arguments: str, expect: int = 0) -> JobOutcome:
    """Do a job; return its outcome."""
    checkout.run("ci", "run", key, *arguments, expect=expect)
    outcome = PipelineFiles(checkout.root / "build/ci").outcome(key)
    assert outcome
    return outcome


def report(checkout: Checkout, expect: int = 0) -> Mapping[str, str]:
    """Report a pipeline; return the states of its jobs by kind and library."""
    document = json.loads(checkout.run("ci", "report", "--json", expect=expect).stdout)
    return {row["name"].removesuffix(f" {CELL}"): row["state"] for row in document["jobs"]}


def test_a_library_is_compiled_on_one_machine_and_tested_on_another(
    jobs: Checkout, tmp_path: Path
) -> None:
    add(jobs, "first", build="date +%N > /build/word; cat /src/word >> /build/word")
    keys = plan(jobs)
    tester = other(jobs, tmp_path / "tester")
    assert run(jobs, keys["compile first"]).state == "done"
    move(keys["compile first"], jobs, tester)
    assert run(tester, keys["test first"]).state == "done"
    word = f"build/{CELL}/first/devel/word"
    assert (tester.root / word).read_text() == (jobs.root / word).read_text()


def test_the_results_of_a_pipeline_are_those_of_a_local_run(jobs: Checkout, tmp_path: Path) -> None:
    add(jobs, "good")
    add(jobs, "bad", test="echo wrong; false")
    add(jobs, "flaky", test="mkdir /build/once 2> /dev/null && exit 1; true")
    add(jobs, "waived", test="false")
    add(jobs, "broken", build="false")
    day = date.today() + timedelta(days=9)
    (jobs.root / "waivers.yaml").write_text(
        f'version: "1"\nwaivers:\n  - {{test: "*", library: waived, owner: me, bug: B-1, '
        f'expires: "{day}"}}\n'
    )
    keys = plan(jobs)
    reporter, local = other(jobs, tmp_path / "reporter"), other(jobs, tmp_path / "local")
    codes = {"test bad": 1, "compile broken": 1, "test broken": 1}
    states = {}
    for name, key in keys.items():
        runner = other(jobs, tmp_path / key)
        for need in PipelineFiles(runner.root / "build/ci").job(key).needs:
            move(need, reporter, runner)
        states[name] = run(runner, key, expect=codes.get(name, 0)).state
        move(key, runner, reporter)
    ends = {"test flaky": "flaky", "test waived": "waived", **dict.fromkeys(codes, "failed")}
    assert states == {name: ends.get(name, "done") for name in keys}
    assert report(reporter, expect=1) == states
    local.run("test", "--rerun", expect=1)
    local.run("report")
    assert stored_rows(reporter.root) == stored_rows(local.root)
    page = (reporter.root / "build/ci/summary.md").read_text()
    assert "## envmatrix: failed" in page
    before = stored_rows(reporter.root)
    report(reporter, expect=1)
    assert stored_rows(reporter.root) == before, "a second report stores no run twice"


def test_an_artifact_that_is_missing_or_damaged_is_never_compiled_again(
    jobs: Checkout, tmp_path: Path
) -> None:
    add(jobs, "first")
    keys = plan(jobs)
    compilation, test = keys["compile first"], keys["test first"]
    run(jobs, compilation)
    tester = other(jobs, tmp_path / "tester")
    ended = run(tester, test, expect=TEMPORARY_FAILURE)
    assert (ended.state, ended.attempt) == ("infrastructure", 1)
    assert "left no outcome" in ended.message
    move(compilation, jobs, tester)
    left = tester.root / "build/ci/jobs" / compilation
    (outputs,) = (left / "outputs").iterdir()
    content = outputs.read_bytes()
    for damage, reason in (
        (lambda: outputs.write_bytes(content[:-100]), "damaged"),
        (outputs.unlink, "left no outputs"),
        (lambda: shutil.rmtree(left / "records"), "left no record"),
        (lambda: (left / "outcome.json").write_text("{"), "left a damaged outcome"),
    ):
        damage()
        ended = run(tester, test, expect=TEMPORARY_FAILURE)
        assert reason in ended.message
    ended = run(tester, test, "--attempt", "2", expect=1)
    assert (ended.state, ended.attempt) == ("failed", 2)
    assert "the second attempt was on the same machine, `tester`" in ended.message
    assert not (tester.root / f"build/{CELL}/first/devel/word").exists()
    assert report(tester, expect=1) == {"compile first": "missing", "test first": "failed"}


def test_a_test_takes_the_outputs_of_its_pipeline_and_not_what_is_left_of_another(
    jobs: Checkout,
) -> None:
    add(jobs, "first", test="cat /build/word; echo of a test > /build/word")
    keys = plan(jobs)
    run(jobs, keys["compile first"])
    word = jobs.root / f"build/{CELL}/first/devel/word"
    compiled = word.read_text()
    for _ in range(2):
        assert run(jobs, keys["test first"]).state == "done"
        assert word.read_text() == "of a test\n"
    logs = (jobs.root / "build/ci/jobs" / keys["test first"]).rglob("*.log")
    assert compiled in "".join(log.read_text() for log in logs)
    (outputs,) = (jobs.root / "build/ci/jobs" / keys["compile first"] / "outputs").iterdir()
    outputs.write_bytes(outputs.read_bytes()[:-100])
    ended = run(jobs, keys["test first"], expect=TEMPORARY_FAILURE)
    assert "damaged" in ended.message


def test_a_plan_of_something_else_does_not_fit(jobs: Checkout, tmp_path: Path) -> None:
    add(jobs, "first")
    keys = plan(jobs)
    changed, committed_later = other(jobs, tmp_path / "changed"), other(jobs, tmp_path / "later")
    (changed.root / "first/word").write_text("another word\n")
    ended = run(changed, keys["compile first"], expect=OutOfDate.exit_code)
    assert "has other inputs in this checkout" in ended.message
    committed(committed_later.root)
    ended = run(committed_later, keys["compile first"], expect=OutOfDate.exit_code)
    assert "the plan is of the revision `none`" in ended.message
    assert report(changed, expect=1) == dict.fromkeys(
        ("compile first", "test first"), "missing"
    ) | {"compile first": "failed"}
    jobs.run("ci", "run", "0" * 64, expect=2)


def test_what_the_engine_cannot_run_is_tried_again_elsewhere_and_once(
    jobs: Checkout, tmp_path: Path
) -> None:
    add(jobs, "first")
    keys = plan(jobs)
    variables = {**jobs.variables, "DOCKER_HOST": f"unix://{tmp_path}/none", "DOCKER_CONTEXT": ""}
    lost = replace(jobs, variables=variables)
    ended = run(lost, keys["compile first"], expect=TEMPORARY_FAILURE)
    rows = json.loads(jobs.run("ci", "again", "--json").stdout)
    assert [row["id"] for row in rows] == [*keys.values()]
    assert report(jobs, expect=1) == {"compile first": "infrastructure", "test first": "missing"}
    elsewhere = replace(jobs, variables={**jobs.variables, "ENVMATRIX_CI_NODE": "second"})
    ended = run(elsewhere, keys["compile first"], "--attempt", "2")
    assert (ended.state, ended.attempt, ended.node, ended.message) == ("done", 2, "second", "")
    run(elsewhere, keys["test first"])
    assert report(jobs) == dict.fromkeys(keys, "done")


def test_a_job_ends_at_its_limit_and_has_no_outcome_if_it_is_cancelled(
    jobs: Checkout, tmp_path: Path
) -> None:
    add(jobs, "first", build="sleep 60")
    keys = plan(jobs, minutes=0)
    ended = run(jobs, keys["compile first"], expect=1)
    assert ended.message.startswith("it did not end within 0 minutes")
    keys = plan(jobs)
    process = jobs.start("ci", "run", keys["compile first"])
    wait_for(lambda: "start " in jobs.output)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == INTERRUPTED
    assert report(jobs, expect=1) == dict.fromkeys(keys, "missing")


@pytest.fixture
def unbuilt(jobs: Checkout, tmp_path: Path) -> Checkout:
    """A checkout of a user who has made no image."""
    add(jobs, "first")
    jobs.variables["ENVMATRIX_CACHE"] = str(tmp_path / "cache")
    return jobs


@pytest.mark.parametrize(
    ("status", "expect", "message"),
    [
        (404, 1, "does not have `cuda13.5-debian12:devel-amd64`, which the plan names sha256:0"),
        (429, TEMPORARY_FAILURE, "429"),
    ],
)
def test_an_image_that_the_registry_does_not_give_is_never_built_instead(
    unbuilt: Checkout, status: int, expect: int, message: str
) -> None:
    class Answer(Handler):
        def do_GET(self) -> None:
            self.answer(200 if self.path == "/v2/" else status)

        def do_HEAD(self) -> None:  # noqa: N802 -- as the server calls it
            self.do_GET()

    image = f"{ENVIRONMENT}:devel-amd64"
    keys = plan(unbuilt, images={image: f"sha256:{'0' * 64}"})
    with serving(Answer) as url:
        unbuilt.use(f"{url.removeprefix('http://')}/images")
        ended = run(unbuilt, keys["compile first"], expect=expect)
    assert message in ended.message


def test_an_image_is_published_before_others_need_it(
    jobs: Checkout, registry: str, base: str, tmp_path: Path
) -> None:
    add(jobs, "first")
    jobs.use(f"{registry}/pipeline")
    jobs.run("ci", "plan")
    files = PipelineFiles(jobs.root / "build/ci")
    images = {job.name: job for job in files.pipeline.of_stage("images")}
    assert f"image {ENVIRONMENT}:runtime-amd64" in images
    run(jobs, images[f"image {ENVIRONMENT}:runtime-amd64"].id)
    other_user = replace(
        jobs, variables={**jobs.variables, "ENVMATRIX_CACHE": str(tmp_path / "cache")}
    )
    actions = other_user.actions()
    assert actions["runtime-amd64"] == "pull"
    untrusted = replace(files.pipeline, trigger=replace(files.pipeline.trigger, is_trusted=False))
    (files.directory / PLAN).write_text(document(untrusted))
    jobs.run("ci", "run", images[f"image {ENVIRONMENT}:runtime-amd64"].id, expect=2)


def test_what_passed_in_the_first_attempt_is_not_run_again(jobs: Checkout) -> None:
    add(jobs, "first", test="echo once >> /build/tested")
    keys = plan(jobs)
    run(jobs, keys["compile first"])
    ended = run(jobs, keys["test first"])
    files = PipelineFiles(jobs.root / "build/ci")
    files.write(replace(ended, state="infrastructure"))
    elsewhere = replace(jobs, variables={**jobs.variables, "ENVMATRIX_CI_NODE": "second"})
    assert run(elsewhere, keys["test first"], "--attempt", "2").state == "reused"
    assert (jobs.root / f"build/{CELL}/first/devel/tested").read_text() == "once\n"


def test_a_library_is_tested_with_what_it_needs_from_another_machine(
    jobs: Checkout, tmp_path: Path
) -> None:
    add(jobs, "base", build="cp /src/word /build/word")
    add(jobs, "top", build="cp /prefix/base/word /build/word")
    file = jobs.root / "matrix.yaml"
    text = file.read_text().replace(
        'path: base\n    build: {system: script, commands: ["sh /src/build.sh"]}',
        'path: base\n    build: {system: script, commands: ["sh /src/build.sh"], '
        'install: ["cp /build/word /prefix/base/word"]}',
    )
    file.write_text(text.replace("path: top\n", "path: top\n    needs: [base]\n"))
    keys = plan(jobs)
    for name in ("compile base", "compile top", "test base", "test top"):
        runner = other(jobs, tmp_path / name.replace(" ", "-"))
        for need in PipelineFiles(jobs.root / "build/ci").job(keys[name]).needs:
            move(need, jobs, runner)
        assert run(runner, keys[name]).state == "done"
        move(keys[name], runner, jobs)
    assert report(jobs) == dict.fromkeys(keys, "done")
