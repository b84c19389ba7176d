"""Jobs of variants: which a plan has, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.unit.app.conftest import CELL, TESTED
from tests.unit.prompt import EARLY

from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.reports import scope_of
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.jobs.model import Resources

VARIED = f"""\
{TESTED}\
    owner: ana
    variants:
      std: ["17", "20"]
      named: {{debug: {{build_type: Debug, cells: "*-x86_64"}}}}
      tiers: {{pr: [cxx20]}}
"""
SELECTION = JobSelection("test", [CELL])

pytestmark = pytest.mark.parametrize("libraries", [VARIED], indirect=True)


def subjects(workspace: Workspace, selection: JobSelection = SELECTION) -> Mapping[str, list[str]]:
    """Return the libraries of jobs in a cell, by kind."""
    plan = plan_jobs(workspace, selection, Resources(4, 16 << 30), Console(-1))
    rows: dict[str, list[str]] = {}
    for job in plan.graph.jobs.values():
        rows.setdefault(job.kind, []).append(job.subject[0])
    return rows


def test_variants_are_tested_with_the_images_and_the_source_of_the_library(
    engine: Workspace,
) -> None:
    jobs = subjects(engine)
    assert jobs["test"] == jobs["compile"] == ["first", "first@cxx20", "first@debug"]
    assert jobs["source"] == ["first"]
    assert len(jobs["image"]) == 2


def test_a_tier_has_its_variants_unless_they_are_named(engine: Workspace) -> None:
    early = replace(SELECTION, tier="pr")
    assert subjects(engine, early)["test"] == ["first", "first@cxx20"]
    assert subjects(engine, replace(early, libraries=["first@debug"]))["test"] == ["first@debug"]
    assert subjects(engine, replace(SELECTION, tier="nightly"))["test"] == [
        *("first", "first@cxx20", "first@debug"),
    ]


def test_a_report_about_a_glob_has_its_variants(engine: Workspace) -> None:
    def names(*libraries: str) -> object:
        return scope_of(engine, (), libraries, None, EARLY).libraries

    assert names("first@*") == {"first", "first@cxx20", "first@debug"}
    assert names("first") == {"first"}
    assert names() is None
