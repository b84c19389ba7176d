"""Jobs that passed in a repository: which a newer run outdates, and what is recorded again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.results.examples import CELL, collector, record, run

from envmatrix.files import readable_text
from envmatrix.jobs.model import Job
from envmatrix.results import passed_jobs
from envmatrix.results.journal import replay
from envmatrix.results.location import Location
from envmatrix.results.passed_jobs import PassedJobs, without_outdated
from envmatrix.results.records import Record
from envmatrix.sessions.outcomes import Measurement, Step
from envmatrix.sessions.products import Product

COMPILED, TESTED = f"compile lib {CELL}", f"test lib {CELL}"
JOB = Job("ab" * 32, "test", ("lib", CELL))


@pytest.fixture
def passed(tmp_path: Path) -> PassedJobs:
    """The jobs of a repository with results."""
    store = tmp_path / "results.sqlite"
    store.touch()
    return PassedJobs(Location(tmp_path / ".envmatrix", store))


def state_of(directory: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in directory.rglob("*")}


@pytest.mark.parametrize(
    ("verb", "remaining"),
    [
        ("test", {COMPILED}),
        ("compile", set()),  # a failed compilation is shown in place of earlier tests
        ("perf", {COMPILED, TESTED, f"{TESTED} 1/2"}),
    ],
)
def test_a_run_outdates_what_reports_show_it_in_place_of(verb: str, remaining: set[str]) -> None:
    ids = dict.fromkeys((COMPILED, TESTED, f"{TESTED} 1/2"), "id")
    assert without_outdated(ids, run(verb=verb)).keys() == remaining
    assert without_outdated(ids, run(verb=verb, library="other")) == ids
    assert without_outdated(ids, run(verb=verb, cell="other")) == ids


def test_a_run_on_a_machine_and_a_step_outdate_their_own_jobs_alone() -> None:
    names = [
        f"{TESTED} on-h100",
        f"{TESTED} on-t4 1/2",
        f"step lib {CELL} nvrtc on-t4",
        f"step lib {CELL} docs",
    ]
    ids = dict.fromkeys(names, JOB.id)
    assert [*without_outdated(ids, run(part="on-t4"))] == [names[0], *names[2:]]
    assert [*without_outdated(ids, run(verb="step", part="docs"))] == names[:3]
    assert [*without_outdated(ids, run(verb="compile"))] == []


@pytest.mark.parametrize("words", [(), ("on-h100",), ("on-h100", "1/2")])
def test_a_job_of_a_machine_is_read_again(passed: PassedJobs, words: tuple[str, ...]) -> None:
    job = Job("cd" * 32, "test", ("lib", CELL, *words))
    passed.add(job)
    assert passed.ids == {str(job): job.id}


def test_a_job_counts_until_a_newer_run_starts(passed: PassedJobs) -> None:
    passed.add(JOB)
    assert passed.ids == {TESTED: JOB.id}
    passed.start(run(library="other"))
    assert passed.ids == {TESTED: JOB.id}
    passed.start(run())
    assert passed.ids == {}


def test_nothing_is_written_for_a_run_that_outdates_nothing(passed: PassedJobs) -> None:
    directory = passed.location.directory
    passed.start(run())
    assert not directory.exists()
    passed.add(JOB)
    before = state_of(directory)
    passed.start(run(library="other"))
    assert state_of(directory) == before


def test_the_jobs_are_read_once_for_a_run_that_outdates_nothing(
    passed: PassedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed.add(JOB)
    files: list[Path] = []

    def read(file: Path) -> str:
        files.append(file)
        return readable_text(file)

    monkeypatch.setattr(passed_jobs, "readable_text", read)
    passed.start(run(library="other"))
    assert len(files) == 1


def test_a_result_is_recorded_again_as_the_newest_with_all_its_parts(passed: PassedJobs) -> None:
    entry = record(
        7,
        {"adds": "passed"},
        steps=[Step("test", 0, 1.0)],
        measurements=[Measurement("copy", 1.0, "GB/s", "higher")],
        products=[Product("lib.so", None, 10)],
    )
    passed.record({JOB: entry})
    records: list[Record] = []
    replay(passed.location.journals, collector(records), pytest.fail)
    (copy,) = records
    assert copy.run.id != entry.run.id
    assert copy.run.started > entry.run.started
    assert copy.parts[1:] == entry.parts[1:]
    assert passed.ids == {TESTED: JOB.id}


def test_no_job_counts_once_the_results_are_removed(tmp_path: Path) -> None:
    passed = PassedJobs(Location(tmp_path, tmp_path / "results.sqlite"))
    passed.record({JOB: record()})
    (journal,) = passed.location.journals.iterdir()
    journal.unlink()
    assert passed.ids == {}
    passed.start(run(library="other"))
    passed.record({Job("cd" * 32, "test", ("other", CELL)): record(library="other")})
    assert [*passed.ids] == [f"test other {CELL}"]


def test_lines_that_name_no_job_are_ignored(passed: PassedJobs) -> None:
    passed.add(JOB)
    file = passed.location.directory / "passed-jobs"
    file.write_bytes(b"\xff\n\nab test\n" + file.read_bytes() + b"cd test lib")
    assert passed.ids == {TESTED: JOB.id}
