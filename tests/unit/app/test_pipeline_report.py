"""What a report takes from the directory of a pipeline, which other machines wrote."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree

import pytest
from tests.fakes import write_repository
from tests.repositories import commit, committed, head
from tests.unit.app.conftest import AXES, CELL, TESTED
from tests.unit.results.examples import record

from envmatrix.app.pipeline_files import PLAN, PipelineFiles, revision_of
from envmatrix.app.pipeline_report import PipelineReport, coverage_of, report_pipeline
from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError, OutOfDate
from envmatrix.jobs.model import Job
from envmatrix.pipeline.model import Pipeline, PipelineJob, Runner, Stage, Trigger, document
from envmatrix.pipeline.outcomes import JobOutcome, OutcomeState
from envmatrix.results.job_records import JobRecords
from envmatrix.results.journal import write_ended
from envmatrix.results.location import Location
from envmatrix.results.records import Record
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.outcomes import COVERAGE, Measurement


def job(number: int, kind: str = "test", *needs: PipelineJob) -> PipelineJob:
    stage: Stage = "compile" if kind == "compile" else "test"
    return PipelineJob(
        f"{number:064x}",
        f"{kind} first {CELL}",
        kind,  # type: ignore[arg-type]
        stage,
        "first",
        CELL,
        tuple(need.id for need in needs),
        "x86_64",
        30,
        "pr",
        "selected",
        ("envmatrix", "run", kind, CELL),
    )


COMPILATION = job(1, "compile")
TEST = job(2, "test", COMPILATION)
ANALYSIS = job(3, "analyse")
ALONE = replace(TEST, needs=())


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    root = write_repository(tmp_path / "repository", AXES, TESTED)
    (root / "first").mkdir()
    configuration = tmp_path / "configuration/envmatrix/config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f'[jobs]\nrecords = "{tmp_path}/records"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL"):
        monkeypatch.delenv(name, raising=False)
    return Workspace(root)


def planned(workspace: Workspace, *jobs: PipelineJob, **values: object) -> PipelineFiles:
    files = PipelineFiles.of(workspace, None)
    files.directory.mkdir(parents=True, exist_ok=True)
    runners = {"x86_64": Runner("x86_64", "amd64")}
    revision = revision_of(workspace.root, files.directory)
    pipeline = Pipeline(revision, Trigger("push"), jobs, runners)
    (files.directory / PLAN).write_text(document(replace(pipeline, **values)))  # type: ignore[arg-type]
    return files


def run_of(number: int, kind: str = "test", **values: object) -> Record:
    """Return a run with an id as runs have it."""
    ended = record(number, {"t": "passed"} if kind == "test" else None, library="first", verb=kind)
    return replace(ended, run=replace(ended.run, id=str(UUID(int=number)), cell=CELL), **values)  # type: ignore[arg-type]


def leave(
    files: PipelineFiles, of: PipelineJob, *runs: Record, state: OutcomeState = "done"
) -> None:
    """Leave what a job does: its outcome, its record, and journals of its runs."""
    directory = files.of_job(of.id)
    outcome = JobOutcome(of.id, state, 1, "node", files.pipeline.revision, files.digest)
    files.write(replace(outcome, counts=dict(runs[-1].counts)))
    (directory / "journals").mkdir(parents=True, exist_ok=True)
    for run in runs:
        write_ended(directory / "journals", run)
        subject = (of.library, of.cell)
        JobRecords(directory / "records").keep(Job(of.id, of.kind, subject), run.parts)


def report(workspace: Workspace, files: PipelineFiles) -> tuple[PipelineReport, list[str]]:
    warnings: list[str] = []
    return report_pipeline(workspace, files, warnings.append), warnings


def stored(workspace: Workspace) -> Sequence[tuple[str, ...]]:
    with closing(sqlite3.connect(workspace.root / ".envmatrix/results.sqlite")) as connection:
        return sorted(connection.execute("SELECT verb, library, cell, state FROM runs"))


def test_runs_are_stored_once_and_known_to_the_next_plan(
    workspace: Workspace, tmp_path: Path
) -> None:
    files = planned(workspace, COMPILATION, TEST)
    leave(files, COMPILATION, run_of(1, "compile"))
    leave(files, TEST, run_of(2))
    for _ in range(2):
        result, warnings = report(workspace, files)
        assert (result.verdict.is_good, warnings) == (True, [])
        runs = [(verb, "first", CELL, "passed") for verb in ("compile", "test")]
        assert stored(workspace) == runs
    records = JobRecords(tmp_path / "records")
    assert records.good(Job(TEST.id, "test", ("first", CELL)))


def test_a_plan_of_another_revision_is_not_reported(workspace: Workspace) -> None:
    committed(workspace.root, {".gitignore": "/scratch\n"})
    files = planned(workspace, ALONE)
    leave(files, ALONE, run_of(2))
    (workspace.root / "scratch").touch()
    assert report(workspace, files)[0].verdict.is_good
    (workspace.root / "new").touch()
    with pytest.raises(OutOfDate, match=r"of `[0-9a-f]{40}-changed`") as caught:
        report(workspace, files)
    assert "`envmatrix ci plan`" in str(caught.value.hint)
    commit(workspace.root)
    with pytest.raises(OutOfDate, match="the plan is of the revision"):
        report(workspace, files)


@pytest.mark.parametrize("directory", ["build/ci", "out/ci", "../elsewhere"])
def test_what_jobs_write_does_not_change_a_checkout(
    workspace: Workspace, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, place = workspace.root, workspace.root / directory
    published = {"images.lock.json": "{}\n"}
    revision = head(committed(root, published))
    for file in (place / PLAN, root / "build/cell/log", root / ".envmatrix/journals/x"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    Location.of(root).prepare()
    (root / "images.lock.json").write_text("[]\n")
    monkeypatch.chdir(root)
    assert revision_of(root, Path(directory)) == revision


def test_untracked_files_change_the_checkout_of_people(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, directory = workspace.root, workspace.root / "build/ci"
    revision = head(committed(root, {"first/a.c": "", "build/tracked": ""}))
    (root / "cache").touch()
    assert revision_of(root, directory) == f"{revision}-changed"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert revision_of(root, directory) == revision
    (root / "first/a.c").write_text("int a;\n")
    assert revision_of(root, directory) == f"{revision}-changed"


def test_a_pipeline_that_is_not_trusted_leaves_nothing_to_reuse(
    workspace: Workspace, tmp_path: Path
) -> None:
    files = planned(workspace, ALONE, trigger=Trigger("pull_request", is_trusted=False))
    leave(files, ALONE, run_of(2))
    report(workspace, files)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    "run",
    [
        run_of(3, "perf"),
        replace(run_of(3), run=replace(run_of(3).run, library="other")),
        replace(run_of(3), run=replace(run_of(3).run, cell="another cell")),
        replace(run_of(3), run=replace(run_of(3).run, shard="1/2")),
        replace(run_of(3), run=replace(run_of(3).run, part="on-h100")),
        replace(run_of(3), run=replace(run_of(3).run, extent="since")),
        replace(run_of(3), run=replace(run_of(3).run, id="3")),
    ],
)
def test_a_run_that_is_not_of_the_job_is_not_stored(workspace: Workspace, run: Record) -> None:
    files = planned(workspace, ALONE)
    leave(files, ALONE, run_of(2))
    write_ended(files.of_job(TEST.id) / "journals", run)
    _, warnings = report(workspace, files)
    assert stored(workspace) == [("test", "first", CELL, "passed")]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"a journal of `test first {CELL}` is not stored: ")


@pytest.mark.parametrize("others", [[], [run_of(1, "compile")], [run_of(1, "perf")]])
def test_a_good_outcome_without_the_journal_of_the_job_is_a_missing_one(
    workspace: Workspace, others: Sequence[Record]
) -> None:
    files = planned(workspace, ALONE)
    leave(files, ALONE, run_of(2))
    directory = files.of_job(TEST.id)
    (directory / "journals" / f"{UUID(int=2)}.jsonl").unlink()
    for other in others:
        write_ended(directory / "journals", other)
    result, _ = report(workspace, files)
    (row,) = result.verdict.rows
    reason = "its outcome is `done`, and there is no journal of its run"
    assert (row.state, row.message, result.verdict.is_good) == ("missing", reason, False)
    assert not JobRecords.of_user().find(Job(TEST.id, "test", ("first", CELL)))


def test_a_shard_has_a_run_of_its_own(workspace: Workspace) -> None:
    parts = [replace(job(n), name=f"{ALONE.name} {n}/2", needs=()) for n in (1, 2)]
    files = planned(workspace, *parts)
    runs = [run_of(n) for n in (1, 2)]
    first, second = (
        replace(run, run=replace(run.run, shard=f"{n}/2")) for n, run in enumerate(runs, 1)
    )
    leave(files, parts[0], first)
    leave(files, parts[1], first)
    result, _ = report(workspace, files)
    assert [row.state for row in result.verdict.rows] == ["missing", "done"]
    leave(files, parts[1], second)
    assert report(workspace, files)[0].verdict.is_good


def test_links_and_what_is_no_file_are_not_read(workspace: Workspace, tmp_path: Path) -> None:
    files = planned(workspace, ALONE)
    secret = tmp_path / "secret"
    secret.write_text(files.directory.joinpath(PLAN).read_text())
    directory = files.of_job(TEST.id)
    (directory / "journals").mkdir(parents=True)
    (directory / "journals" / f"{UUID(int=7)}.jsonl").symlink_to(secret)
    os.mkfifo(directory / "outcome.json")
    result, _ = report(workspace, files)
    (row,) = result.verdict.rows
    assert (row.state, result.verdict.is_good) == ("missing", False)
    assert "outcome.json" in row.message


def test_an_outcome_that_is_half_written_is_a_missing_one(workspace: Workspace) -> None:
    files = planned(workspace, ALONE)
    leave(files, ALONE, run_of(2))
    file = files.of_job(TEST.id) / "outcome.json"
    file.write_text(file.read_text()[:40])
    result, _ = report(workspace, files)
    assert [row.state for row in result.verdict.rows] == ["missing"]


def test_a_plan_that_is_missing_or_half_written_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="there is no"):
        report(workspace, PipelineFiles.of(workspace, None))
    files = planned(workspace, ALONE)
    file = files.directory / PLAN
    text = file.read_text()
    file.write_text(text[:100])
    with pytest.raises(ConfigurationError, match="no pipeline"):
        report(workspace, PipelineFiles(files.directory))
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigurationError, match="no pipeline"):
        report(workspace, PipelineFiles(files.directory))


def test_a_plan_that_is_a_link_is_an_error_with_what_to_do(
    workspace: Workspace, tmp_path: Path
) -> None:
    files = planned(workspace, ALONE)
    (files.directory / PLAN).rename(tmp_path / PLAN)
    (files.directory / PLAN).symlink_to(tmp_path / PLAN)
    with pytest.raises(ConfigurationError, match="no pipeline") as raised:
        report(workspace, PipelineFiles(files.directory))
    assert str(raised.value.problems[0].hint).startswith("plan first: ")


def test_hours_of_other_machines_do_not_matter(workspace: Workspace) -> None:
    files = planned(workspace, COMPILATION, TEST)
    compiled = run_of(1, "compile")
    leave(files, COMPILATION, replace(compiled, run=replace(compiled.run, started=2e9)))
    leave(files, TEST, run_of(2))
    os.utime(files.of_job(TEST.id) / "outcome.json", (1, 1))
    result, _ = report(workspace, files)
    assert result.verdict.is_good


def test_tests_of_all_jobs_are_in_one_file_with_the_jobs_that_have_none(
    workspace: Workspace,
) -> None:
    files = planned(workspace, COMPILATION, TEST, replace(ANALYSIS, name="test <lost> & gone"))
    leave(files, COMPILATION, run_of(1, "compile"))
    leave(files, TEST, run_of(2))
    report(workspace, files)
    suites = ElementTree.parse(files.directory / "junit.xml").getroot()  # noqa: S314 -- our own
    cases = {str(suite.get("name")): [case.get("name") for case in suite] for suite in suites}
    assert cases == {
        f"compile first {CELL}": ["compile"],
        f"test first {CELL}": ["t"],
        "test <lost> & gone": ["analyse"],
    }
    errors = [suite.get("name") for suite in suites if suite.get("errors") != "0"]
    assert errors == ["test <lost> & gone"]


def test_findings_of_all_analyses_are_one_file_with_a_run_for_each_tool(
    workspace: Workspace,
) -> None:
    other = replace(ANALYSIS, id=f"{4:064x}")
    files = planned(workspace, ANALYSIS, other)
    findings = (Finding("cppcheck", "r", "message", "a.c", 1), Finding("clang-tidy", "q", "m"))
    leave(files, ANALYSIS, run_of(1, "analyse", findings=findings))
    leave(files, other, run_of(2, "analyse", findings=findings[:1]))
    report(workspace, files)
    runs = json.loads((files.directory / "findings.sarif").read_text())["runs"]
    numbers = {run["tool"]["driver"]["name"]: len(run["results"]) for run in runs}
    assert numbers == {"clang-tidy": 1, "cppcheck": 1}
    (location,) = runs[1]["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "first/a.c"


def test_the_coverage_of_analyses_is_on_the_page(workspace: Workspace) -> None:
    files = planned(workspace, ANALYSIS, ALONE)
    measured = (
        Measurement(COVERAGE, 58.345, "%", "higher"),
        Measurement("size", 1.0, "B", "lower"),
    )
    leave(files, ANALYSIS, run_of(1, "analyse", measurements=measured))
    leave(files, ALONE, run_of(2))
    result, _ = report(workspace, files)
    assert result.coverage == {ANALYSIS.id: 58.345}
    assert (coverage_of(files, ANALYSIS), coverage_of(files, ALONE)) == (58.345, None)
    page = (files.directory / "summary.md").read_text()
    assert f"| first | {CELL} | 58.34 % |\n" in page


def test_a_job_without_coverage_has_none_on_the_page(workspace: Workspace) -> None:
    files = planned(workspace, ANALYSIS)
    leave(files, ANALYSIS, run_of(1, "analyse"))
    assert report(workspace, files)[0].coverage == {}
    assert "Coverage" not in (files.directory / "summary.md").read_text()


def test_the_page_is_added_to_that_of_the_step(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    files = planned(workspace, replace(ALONE, name="test `x` <b> | ::error::", reason=""))
    report(workspace, files)
    text = page.read_text()
    assert text.startswith("before\n## envmatrix: failed\n")
    assert "<b>" not in text
    assert "::error::" not in text


def test_a_pipeline_that_is_not_trusted_writes_to_no_shared_store(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVMATRIX_RESULTS", f"sqlite:///{tmp_path}/shared.sqlite")
    files = planned(workspace, ALONE, trigger=Trigger("pull_request", is_trusted=False))
    leave(files, ALONE, run_of(2))
    report(workspace, files)
    assert stored(workspace) == [("test", "first", CELL, "passed")]
    assert not (tmp_path / "shared.sqlite").exists()


def test_a_store_that_does_not_answer_hides_no_verdict(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVMATRIX_RESULTS", f"sqlite:///{tmp_path}")
    files = planned(workspace, ALONE)
    leave(files, ALONE, run_of(2))
    result, warnings = report(workspace, files)
    assert result.verdict.is_good
    assert "until the next report" in warnings[0]
    monkeypatch.delenv("ENVMATRIX_RESULTS")
    report(workspace, files)
    assert stored(workspace) == [("test", "first", CELL, "passed")]
