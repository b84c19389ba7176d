"""CCCL's CI matrix and ours: both have the same jobs, except for differences with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests import cccl

from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import explain

README = cccl.EXAMPLE / "README.md"


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return load_matrix(cccl.EXAMPLE)


@pytest.fixture(scope="module")
def ours(matrix: Matrix) -> cccl.Jobs:
    return cccl.own_jobs(matrix)


@pytest.fixture(scope="module")
def recorded() -> cccl.Jobs:
    return cccl.read_record(cccl.RECORD.read_text("utf-8"))[1]


@pytest.fixture(scope="module")
def checkout() -> Path:
    directory = os.environ.get(cccl.CHECKOUT)
    if not directory:
        pytest.skip(f"${cccl.CHECKOUT} names no checkout of CCCL")
    return Path(directory).resolve()


def unexplained(theirs: cccl.Jobs, ours: cccl.Jobs) -> list[cccl.Difference]:
    return [row for row in cccl.differences(theirs, ours) if cccl.reason_of(row) is None]


def test_each_difference_to_the_record_has_a_reason(recorded: cccl.Jobs, ours: cccl.Jobs) -> None:
    assert unexplained(recorded, ours) == []


def test_each_reason_explains_a_difference(recorded: cccl.Jobs, ours: cccl.Jobs) -> None:
    reasons = {cccl.reason_of(row) for row in cccl.differences(recorded, ours)}
    assert reasons == {*cccl.REASONS}


def test_each_difference_to_a_checkout_has_a_reason(checkout: Path, ours: cccl.Jobs) -> None:
    assert unexplained(cccl.planner_jobs(checkout), ours) == []


def test_the_record_is_what_the_planner_of_its_commit_says(
    checkout: Path, recorded: cccl.Jobs
) -> None:
    commit, _ = cccl.read_record(cccl.RECORD.read_text("utf-8"))
    if cccl.commit_of(checkout) != commit:
        pytest.skip(f"the checkout is not at {commit}")
    assert cccl.planner_jobs(checkout) == recorded


def test_a_record_is_read_as_it_was_written(recorded: cccl.Jobs) -> None:
    assert cccl.read_record(cccl.record("0" * 40, recorded)) == ("0" * 40, recorded)


def test_our_file_is_shorter_than_what_it_replaces(checkout: Path) -> None:
    theirs = cccl.lines_of((checkout / "ci/matrix.yaml").read_text("utf-8"))
    assert f"In CCCL, {theirs} lines" in README.read_text("utf-8")


def test_the_readme_counts_our_lines() -> None:
    lines = (cccl.EXAMPLE / "matrix.yaml").read_text("utf-8").splitlines()
    ours = sum(bool(line.split("#")[0].strip()) for line in lines)
    assert f"`matrix.yaml` has {ours}." in README.read_text("utf-8")


def test_every_cell_can_exist(matrix: Matrix) -> None:
    failed = [
        (cell.id, verdict)
        for cell in matrix.cells
        for verdict in explain(matrix, cell).verdicts
        if not verdict.passed
    ]
    assert failed == []


def test_the_readme_has_the_counts_and_the_reasons(recorded: cccl.Jobs, ours: cccl.Jobs) -> None:
    text = README.read_text("utf-8")
    assert cccl.count_table(recorded, ours) in text
    assert cccl.difference_table(recorded, ours) in text


def test_a_job_of_one_side_alone_is_a_difference() -> None:
    job = cccl.Job("cub", "compile", "13.3", "gcc-15", "nvcc", "x86_64", "17")
    both, pr = frozenset({"pr", "weekly"}), frozenset({"pr"})
    assert cccl.differences({job: both}, {job: pr}) == [cccl.Difference("CCCL", job, "weekly")]
    other = job._replace(std="20")
    assert cccl.differences({job: pr}, {job: pr, other: pr}) == [
        cccl.Difference("envmatrix", other, "pr")
    ]
