"""Whether a pipeline is good: every job that was to do has a good outcome of this plan, and the
journal of a run that ended so. Pure.

Outcomes come from other machines, so their clocks are not compared, and what is not there, is of
another plan, or says nothing is a failure.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal

from envmatrix.pipeline.model import Pipeline, PipelineJob
from envmatrix.pipeline.outcomes import MOST_ATTEMPTS, JobOutcome, OutcomeState
from envmatrix.records import dataclass

# `missing` jobs have no outcome, one of something else, one that cannot be read, or one that no run
# of theirs agrees with.
RowState = OutcomeState | Literal["missing"]
_BAD: frozenset[RowState] = frozenset({"failed", "infrastructure", "missing"})
# In the order in which people read them.
_ORDER: Sequence[RowState] = ("failed", "infrastructure", "missing", "flaky", "waived", "skipped")
_LOST = "it has no outcome: it was cancelled, or its runner was lost"
# The end of the run of a job with a good outcome, and the tests with which runs end so.
_RUN_OF: Mapping[RowState, str] = {
    "done": "passed",
    "reused": "passed",
    "flaky": "flaky",
    "waived": "failed",
}
_FAILED_TESTS = ("failed", "errored", "killed")

_SHARD = re.compile(r"(.+) (\d{1,9})/(\d{1,9})")


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run by its journal: its state, and its tests by state."""

    state: str
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the end of a job: its outcome, or why there is none, and its runs."""

    outcome: JobOutcome | None = None
    problem: str = ""
    runs: Sequence[RunEnd] = ()


# By ids of jobs; a job that is not in it has no outcome.
AllEvidence = Mapping[str, Evidence]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a job, and why."""

    job: PipelineJob
    state: RowState
    message: str = ""
    outcome: JobOutcome | None = None

    @property
    def is_bad(self) -> bool:
        return self.state in _BAD


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the jobs of a pipeline, the worst first, and what is wrong with the plan
    itself."""

    rows: Sequence[Row]
    problems: Sequence[str] = ()

    @property
    def is_good(self) -> bool:
        return not self.problems and not any(row.is_bad for row in self.rows)

    @property
    def counts(self) -> Mapping[RowState, int]:
        return Counter(row.state for row in self.rows)


def mismatch(outcome: JobOutcome, job: PipelineJob, revision: str, plan: str) -> str:
    """Return why an outcome is not one of a job of a plan, by its sha256 (hex), at a revision;
    nothing if it is."""
    if outcome.id != job.id:
        return "its outcome is of another job"
    if outcome.plan != plan:
        return "its outcome is of another plan"
    if outcome.revision != revision:
        return "its outcome is of another revision"
    return ""


def verdict(pipeline: Pipeline, plan: str, evidence: AllEvidence) -> Verdict:
    """Return what became of a pipeline, whose document has the sha256 (hex) `plan`."""
    rows: dict[str, Row] = {}
    for job in pipeline.jobs:
        own = evidence.get(job.id, Evidence())
        row = _row(pipeline, job, plan, own)
        if row.outcome and (problem := _contradiction(job, row.outcome, own.runs)):
            row = Row(job, "missing", problem)
        if row.state == "missing" and (cause := _ended_by(job, rows)):
            row = Row(job, "missing", f"`{cause.job.name}`, which it needs, is {cause.state}")
        rows[job.id] = row
    order = {state: place for place, state in enumerate(_ORDER)}
    ordered = sorted(rows.values(), key=lambda row: order.get(row.state, len(order)))
    return Verdict(ordered, [*_problems(pipeline)])


def _row(pipeline: Pipeline, job: PipelineJob, plan: str, evidence: Evidence) -> Row:
    if job.prospect == "reused":
        return Row(job, "reused", job.reason)
    if job.prospect == "skipped":
        return _skipped(job, job.reason)
    outcome = evidence.outcome
    if outcome is None:
        return Row(job, "missing", evidence.problem or _LOST)
    if problem := mismatch(outcome, job, pipeline.revision, plan):
        return Row(job, "missing", problem)
    if outcome.state == "skipped":
        return _skipped(job, outcome.message, outcome)
    return Row(job, outcome.state, outcome.message, outcome)


def _contradiction(job: PipelineJob, outcome: JobOutcome, runs: Sequence[RunEnd]) -> str:
    """Return why a good outcome is none: its tests, or the runs of the job, say something else.
    Only runs have records of what happened; a job that makes an image has none."""
    state = _RUN_OF.get(outcome.state)
    if state is None:
        return ""
    if _end_of(outcome.counts) != state:
        return f"its outcome is `{outcome.state}`, and its tests are not"
    if job.kind == "image":
        return ""
    if not runs:
        return f"its outcome is `{outcome.state}`, and there is no journal of its run"
    if not any(
        run.state == state and Counter(run.counts) == Counter(outcome.counts) for run in runs
    ):
        return f"its outcome is `{outcome.state}`, and the journal of its run has another end"
    return ""


def _end_of(counts: Mapping[str, int]) -> str:
    """Return how a run with so many tests of each state ends."""
    if any(counts.get(state) for state in _FAILED_TESTS):
        return "failed"
    return "flaky" if counts.get("flaky") else "passed"


def _skipped(job: PipelineJob, reason: str, outcome: JobOutcome | None = None) -> Row:
    if reason.strip():
        return Row(job, "skipped", reason, outcome)
    return Row(job, "missing", "it was skipped without a reason", outcome)


def _ended_by(job: PipelineJob, rows: Mapping[str, Row]) -> Row | None:
    return next((rows[need] for need in job.needs if rows[need].is_bad), None)


def _problems(pipeline: Pipeline) -> Iterator[str]:
    """Yield what is wrong with a plan, whatever became of its jobs."""
    if pipeline.emptiness and not pipeline.trigger.base:
        yield f"the plan has no job: {pipeline.emptiness}"
    elif pipeline.jobs and all(job.prospect == "skipped" for job in pipeline.jobs):
        yield "no job of the plan can run: all are skipped"
    shards: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for job in pipeline.jobs:
        if match := _SHARD.fullmatch(job.name):
            shards[match[1], match[3]].add(match[2])
    for (name, count), indices in shards.items():
        if len(indices) < int(count):
            yield f"the plan has {len(indices)} of {count} parts of `{name}`"


def worth_another(pipeline: Pipeline, plan: str, evidence: AllEvidence) -> Sequence[PipelineJob]:
    """Return the jobs to try again, each after those that it needs: those that failed for reasons
    of the infrastructure for the first time, and those that need them and have not run."""
    again: dict[str, PipelineJob] = {}
    to_do = (job for job in pipeline.jobs if job.prospect == "to do")
    for job in to_do:
        row = _row(pipeline, job, plan, evidence.get(job.id, Evidence()))
        is_first = row.outcome is not None and row.outcome.attempt < MOST_ATTEMPTS
        waits = row.state == "missing" and any(need in again for need in job.needs)
        if (row.state == "infrastructure" and is_first) or waits:
            again[job.id] = job
    return [*again.values()]
