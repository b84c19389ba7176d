"""Records of jobs: which results count as those of a job."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from envmatrix.jobs.model import Job
from envmatrix.results.job_records import JobRecords
from envmatrix.results.records import End, Part, Run
from envmatrix.sessions.outcomes import State, TestOutcome

JOB = Job("ab" * 32, "test", ("ops", "cell"))
RUN = Run("1" * 32, "ops", "cell", "test", 1.0)


def parts(state: State = "passed") -> list[Part]:
    return [RUN, TestOutcome("adds", "passed", 0.5), End(state, 2.0)]


def test_a_result_is_found_by_its_job(tmp_path: Path) -> None:
    records = JobRecords(tmp_path)
    assert records.find(JOB) is None
    outputs = f"sha256:{'a' * 64}"
    records.keep(JOB, parts(), outputs)
    result = records.good(JOB)
    assert result
    assert (result.record.end.seconds, result.record.outcomes[0].name) == (2.0, "adds")
    assert result.outputs == outputs


@pytest.mark.parametrize("state", ["failed", "flaky", "errored", "skipped", "killed"])
def test_only_what_passed_at_once_is_good(tmp_path: Path, state: State) -> None:
    records = JobRecords(tmp_path)
    records.keep(JOB, parts())
    records.keep(JOB, parts(state))  # the newest counts
    assert records.find(JOB)
    assert records.good(JOB) is None


def test_a_job_with_incomplete_inputs_has_no_good_result(tmp_path: Path) -> None:
    records = JobRecords(tmp_path)
    records.keep(JOB, parts())
    assert records.good(replace(JOB, is_reusable=False)) is None


def test_results_of_trusted_directories_count_and_own_ones_before(tmp_path: Path) -> None:
    theirs, own = tmp_path / "theirs", tmp_path / "own"
    JobRecords(theirs).keep(JOB, parts())
    assert JobRecords(own).find(JOB) is None
    assert JobRecords(own, [theirs]).good(JOB)
    JobRecords(own).keep(JOB, parts("failed"))
    assert JobRecords(own, [theirs]).good(JOB) is None


def test_results_that_are_supplied_need_no_signature(tmp_path: Path) -> None:
    theirs, own, key = tmp_path / "theirs", tmp_path / "own", tmp_path / "key"
    JobRecords(theirs).keep(JOB, parts())
    assert JobRecords(own, [theirs], key).good(JOB) is None
    records = JobRecords(own, [], key, [theirs])
    assert records.good(JOB)
    assert [job for job, _ in records.good_among([JOB])] == [JOB]


def test_good_results_of_many_jobs_are_those_of_each(tmp_path: Path) -> None:
    theirs, own = JobRecords(tmp_path / "theirs"), JobRecords(tmp_path / "own")
    of_others, failed, absent = (replace(JOB, id=digits * 32) for digits in ("cd", "ef", "12"))
    own.keep(JOB, parts())
    own.keep(failed, parts("failed"))
    theirs.keep(of_others, parts())
    records = JobRecords(own.own, [theirs.own, tmp_path / "nowhere"])
    rows = records.good_among([absent, of_others, failed, JOB, replace(JOB, is_reusable=False)])
    assert [job.id for job, _ in rows] == [of_others.id, JOB.id]


def file_of(directory: Path) -> Path:
    JobRecords(directory).keep(JOB, parts())
    (file,) = directory.glob("*/*.jsonl")
    return file


def test_a_result_under_the_name_of_another_job_does_not_count(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    assert JobRecords(tmp_path).find(replace(JOB, subject=("ops", "another cell"))) is None
    other = replace(JOB, id="cd" * 32)
    (tmp_path / "cd").mkdir()
    file.rename(tmp_path / "cd" / f"{other.id}.jsonl")
    assert JobRecords(tmp_path).find(other) is None


def test_a_result_can_be_forgotten(tmp_path: Path) -> None:
    records = JobRecords(tmp_path)
    records.keep(JOB, parts())
    records.forget(JOB)
    records.forget(JOB)
    assert records.find(JOB) is None


@pytest.mark.parametrize("text", ["", "{", "[]\n", '{"run": {}}\n', "\0\n", '{"end": 1}\n'])
def test_what_no_run_wrote_does_not_count(tmp_path: Path, text: str) -> None:
    file = file_of(tmp_path)
    head, _, _ = file.read_text().partition("\n")
    for content in (text, f"{head}\n{text}"):
        file.write_text(content)
        assert JobRecords(tmp_path).find(JOB) is None
    file.write_text(text)
    assert JobRecords(tmp_path).find(JOB) is None


def test_a_result_without_its_end_is_not_good(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    assert JobRecords(tmp_path).good(JOB) is None


def test_what_is_no_file_does_not_count(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    file.unlink()
    os.mkfifo(file)
    assert JobRecords(tmp_path).find(JOB) is None
