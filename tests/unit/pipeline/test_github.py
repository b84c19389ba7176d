"""Rows of matrices for GitHub, and GitHub's limits."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pipelines import job_of, pipeline_of_cells

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.github import (
    MOST_BYTES,
    MOST_ROWS,
    output_lines,
    outputs,
    second_attempt,
    summary,
)
from envmatrix.pipeline.model import STAGES, Pipeline, PipelineJob, Runner, Trigger

# GitHub's own limits: jobs of a matrix, and bytes of the outputs of a job, in UTF-16.
JOBS_OF_A_MATRIX = 256
BYTES_OF_OUTPUTS = 1 << 20


@pytest.mark.parametrize("cells", [12, 535, 1_200])
def test_every_job_is_in_one_row_within_the_limits_of_github(cells: int) -> None:
    pipeline = pipeline_of_cells(cells)
    values = outputs(pipeline)
    for stage in STAGES:
        chunks = json.loads(values[stage])
        assert len(chunks) <= JOBS_OF_A_MATRIX
        assert all(0 < len(chunk) <= MOST_ROWS < JOBS_OF_A_MATRIX for chunk in chunks)
        ids = [row["ids"] for chunk in chunks for row in chunk]
        assert ids == [job.id for job in pipeline.of_stage(stage)]
    assert len(output_lines(values).encode("utf-16-le")) <= BYTES_OF_OUTPUTS


def test_a_row_is_what_a_job_of_the_workflow_takes() -> None:
    job = job_of("test", "cuda13.5-debian12-x86_64")
    ((row,),) = json.loads(outputs(pipeline_of(job))["test"])
    assert row == {
        "ids": job.id,
        "name": job.name,
        "labels": ["self-hosted", "linux"],
        "minutes": job.minutes + 10,
        "group": job.group,
        "artifact": f"test-{job.group}-{job.id[:12]}",
    }


def pipeline_of(*jobs: object, **arguments: object) -> Pipeline:
    values = {"trigger": Trigger(), "runners": {"x86_64": RUNNER}, **arguments}
    return Pipeline("0" * 40, jobs=jobs, **values)  # type: ignore[arg-type]


RUNNER = Runner("x86_64", "amd64", github=("self-hosted", "linux"))


def test_jobs_without_work_have_no_row() -> None:
    jobs = (job_of("test", "one", prospect="reused"), job_of("test", "two", prospect="skipped"))
    assert set(outputs(pipeline_of(*jobs)).values()) == {"[]", "true"}


def test_a_fork_is_told_from_those_who_have_secrets() -> None:
    trigger = Trigger("pull_request", is_trusted=False)
    assert outputs(pipeline_of(trigger=trigger))["trusted"] == "false"


def test_the_second_attempt_has_the_same_rows() -> None:
    jobs = [job_of("test", name) for name in ("one", "two")]
    pipeline = pipeline_of(*jobs)
    ((row,),) = json.loads(second_attempt(pipeline, jobs[1:])["again"])
    assert row == {**json.loads(outputs(pipeline)["test"])[0][1], "all": jobs[1].id}
    assert second_attempt(pipeline, []) == {"again": "[]"}


def test_jobs_of_a_stage_that_need_each_other_are_in_one_row_in_their_order() -> None:
    base, other, alone = (
        job_of("compile", "one", library=name) for name in ("base", "other", "alone")
    )
    both = job_of("compile", "one", [base.id, other.id], library="both")
    top = job_of("compile", "one", [both.id], library="top", runner="large")
    runners = {"x86_64": replace(RUNNER, memory=1_000), "large": replace(RUNNER, github=("big",))}
    pipeline = pipeline_of(base, alone, other, both, top, runners=runners)

    ((row, second),) = json.loads(outputs(pipeline)["compile"])
    if row["ids"] == alone.id:
        row, second = second, row
    assert row["ids"].split() == [base.id, other.id, both.id, top.id]
    assert row["name"] == "compile base one and 3 with it"
    assert row["labels"] == ["big"]
    assert row["minutes"] == 4 * 30 + 10
    assert row["artifact"] == f"compile-{base.group}-{base.id[:12]}"
    assert second["ids"] == alone.id

    ((again,),) = json.loads(second_attempt(pipeline, [both, top])["again"])
    assert again == {**row, "ids": f"{both.id} {top.id}", "all": row["ids"]}


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=30))
def test_rows_have_every_job_once_after_those_of_its_stage_that_it_needs(
    needs: list[list[int]],
) -> None:
    jobs: list[PipelineJob] = []
    for number, earlier in enumerate(needs):
        needed = [jobs[index].id for index in set(earlier) if index < number]
        jobs.append(job_of("compile", "one", needed, library=str(number)))
    chunks = json.loads(outputs(pipeline_of(*jobs))["compile"])
    rows = [row["ids"].split() for chunk in chunks for row in chunk]
    assert sorted(chain.from_iterable(rows)) == sorted(job.id for job in jobs)
    by_id = {job.id: job for job in jobs}
    for row in rows:
        for place, key in enumerate(row):
            assert set(by_id[key].needs) <= set(row[:place])


def test_a_long_row_has_the_time_that_github_gives() -> None:
    first = job_of("compile", "one", minutes=300)
    second = job_of("compile", "one", [first.id], library="other", minutes=300)
    ((row,),) = json.loads(outputs(pipeline_of(first, second))["compile"])
    assert row["minutes"] == 360


def test_more_than_github_passes_on_is_an_error_before_it_starts() -> None:
    pipeline = pipeline_of_cells(3_000)
    with pytest.raises(ConfigurationError, match="bytes, and GitHub passes 1,000,000 on") as caught:
        outputs(pipeline)
    assert "plan fewer" in str(caught.value.problems[0].hint)
    assert MOST_BYTES < BYTES_OF_OUTPUTS


def test_a_class_without_labels_is_an_error() -> None:
    runners = {"x86_64": Runner("x86_64", "amd64", jenkins="linux")}
    with pytest.raises(ConfigurationError, match="`x86_64` has no label of GitHub's"):
        outputs(pipeline_of(job_of("test", "one"), runners=runners))


@given(st.text(max_size=300))
def test_names_of_others_stay_text_on_one_line(name: str) -> None:
    pipeline = pipeline_of(job_of("test", name))
    lines = output_lines(outputs(pipeline)).splitlines()
    assert len(lines) == len(STAGES) + 1
    value = dict(line.split("=", 1) for line in lines)["test"]
    assert json.loads(value)[0][0]["name"] == f"test library {name}"


def test_a_summary_counts_jobs_and_gives_reasons() -> None:
    jobs = (
        job_of("compile", "one"),
        job_of("test", "one", prospect="reused"),
        job_of("test", "<b>two</b>", prospect="skipped", reason="no class has a GPU"),
    )
    pipeline = pipeline_of(*jobs, left_out={"cuda9": "there is no compiler"})
    text = summary(pipeline)
    assert "| compile | 1 | 0 | 0 |" in text
    assert "| test | 0 | 1 | 1 |" in text
    assert "- cuda9: there is no compiler" in text
    assert "<b>" not in text
    many = summary(pipeline_of(left_out={f"cell {n}": "impossible" for n in range(60)}))
    assert "- and 10 more" in many
