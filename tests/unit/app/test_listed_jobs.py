"""Jobs of listed runs: the steps and machines of a tier, and nothing else."""

from __future__ import annotations

import pytest
from tests.unit.app.conftest import CELL, TESTED
from tests.unit.prompt import EARLY

from envmatrix.app.job_plan import JobSelection, plan_jobs
from envmatrix.app.reports import scope_of
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.jobs.model import Resources

_AXES = dict(zip(("cuda", "os", "arch"), CELL.removeprefix("cuda").split("-"), strict=True))
_CELL = ", ".join(f'{axis}: "{value}"' for axis, value in _AXES.items())
LISTED = f"""\
{TESTED}\
    steps:
      docs: {{commands: ["true"], after: nothing}}
      codegen: {{commands: ["true"]}}
    variants: {{std: ["17", "20"]}}
runs:
  - {{{_CELL}, std: "17", steps: [test, codegen], runs_on: [h100, h200], tiers: pr}}
  - {{{_CELL}, std: "20", steps: compile, tiers: [pr, nightly]}}
  - {{{_CELL}, std: "17", steps: docs, tiers: weekly}}
"""

pytestmark = pytest.mark.parametrize("libraries", [LISTED], indirect=True)


def jobs(workspace: Workspace, tier: str | None) -> list[str]:
    """Return the jobs of libraries in a tier, each with the machine that it requires."""
    plan = plan_jobs(
        workspace, JobSelection("test", [CELL], tier), Resources(4, 16 << 30), Console(-1)
    )
    return sorted(
        " ".join(filter(None, (job.kind, job.subject[0], job.step, str(job.requirement or ""))))
        for job in plan.graph.jobs.values()
        if job.kind in ("compile", "test", "step")
    )


def test_a_tier_has_the_jobs_that_its_entries_list(engine: Workspace) -> None:
    assert jobs(engine, "pr") == [
        "compile first",
        "compile first@cxx20",
        "step first codegen",
        "test first h100",
        "test first h200",
    ]
    assert jobs(engine, "nightly") == ["compile first@cxx20"]


def test_a_step_that_needs_no_build_is_the_only_job(engine: Workspace) -> None:
    assert jobs(engine, "weekly") == ["step first docs"]


def test_without_a_tier_there_are_the_jobs_of_all(engine: Workspace) -> None:
    assert len(jobs(engine, None)) == 6


def test_a_report_of_a_tier_is_about_what_its_entries_list(engine: Workspace) -> None:
    def has(tier: str, *libraries: str) -> list[str]:
        scope = scope_of(engine, (), libraries, None, EARLY, tier)
        return [name for name in ("first", "first@cxx20") if scope.has(name, CELL)]

    assert has("pr") == ["first", "first@cxx20"]
    assert has("nightly") == ["first@cxx20"]
    assert has("nightly", "first@cxx20") == ["first@cxx20"]
