"""Whether a pipeline is good: each fault has one defined end, and none of them is good."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.pipeline.model import Pipeline, PipelineJob, Runner, Trigger
from envmatrix.pipeline.outcomes import JobOutcome, OutcomeState
from envmatrix.pipeline.verdict import Evidence, RunEnd, Verdict, verdict, worth_another

REVISION, PLAN = "c" * 40, "a" * 64
CELL = "cuda13.5-debian12-x86_64"


def job(number: int, name: str = "test ops", *needs: PipelineJob) -> PipelineJob:
    kind = name.split(" ")[0]
    return PipelineJob(
        f"{number:064x}",
        f"{name} {CELL}",
        kind,  # type: ignore[arg-type]
        "compile" if kind == "compile" else "test",
        "ops",
        CELL,
        tuple(need.id for need in needs),
        "x86_64",
        30,
        "pr",
        "selected",
        ("envmatrix", "run", kind, CELL, "--library", "ops"),
    )


COMPILATION = job(1, "compile ops")
TEST = job(2, "test ops", COMPILATION)
OTHER = job(3, "test other")
PIPELINE = Pipeline(
    REVISION, Trigger("push"), (COMPILATION, TEST, OTHER), {"x86_64": Runner("x86_64", "amd64")}
)


# The tests, and the end of the run, of a job with each end.
COUNTS = {"flaky": {"flaky": 1}, "waived": {"passed": 2, "failed": 1}}
RUN_STATES = {"done": "passed", "reused": "passed", "flaky": "flaky", "waived": "failed"}


def outcome(of: PipelineJob, state: OutcomeState = "done", **values: object) -> JobOutcome:
    ended = JobOutcome(of.id, state, 1, "node", REVISION, PLAN, counts=COUNTS.get(state, {}))
    return replace(ended, **values)  # type: ignore[arg-type]


def proven(ended: JobOutcome) -> Evidence:
    """Return an outcome with the run that it is of."""
    return Evidence(ended, runs=[RunEnd(RUN_STATES.get(ended.state, "errored"), ended.counts)])


def judged(*outcomes: JobOutcome, pipeline: Pipeline = PIPELINE) -> Verdict:
    return verdict(pipeline, PLAN, {each.id: proven(each) for each in outcomes})


DONE = (outcome(COMPILATION), outcome(TEST), outcome(OTHER))


def message(result: Verdict, of: PipelineJob) -> str:
    return next(f"{row.state}: {row.message}" for row in result.rows if row.job.id == of.id)


def test_a_pipeline_is_good_if_all_of_its_jobs_are() -> None:
    assert judged(*DONE).is_good


@pytest.mark.parametrize("state", ["reused", "flaky", "waived"])
def test_these_ends_are_good(state: OutcomeState) -> None:
    assert judged(*DONE[:2], outcome(OTHER, state)).is_good


@pytest.mark.parametrize("state", ["failed", "infrastructure"])
def test_these_ends_are_bad(state: OutcomeState) -> None:
    assert not judged(*DONE[:2], outcome(OTHER, state)).is_good


def test_a_job_without_an_outcome_was_cancelled_or_its_agent_died() -> None:
    result = judged(*DONE[:2])
    assert not result.is_good
    assert message(result, OTHER).startswith("missing: it has no outcome")
    assert result.rows[0].job == OTHER  # the worst first


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"plan": "b" * 64}, "missing: its outcome is of another plan"),
        ({"revision": "d" * 40}, "missing: its outcome is of another revision"),
        ({"id": TEST.id}, "missing: its outcome is of another job"),
        ({"state": "skipped"}, "missing: it was skipped without a reason"),
        ({"state": "skipped", "message": " "}, "missing: it was skipped without a reason"),
    ],
)
def test_an_outcome_that_proves_nothing_is_a_missing_one(
    values: dict[str, object], reason: str
) -> None:
    ended = replace(outcome(OTHER), **values)  # type: ignore[arg-type]
    evidence = {each.id: proven(each) for each in DONE[:2]} | {OTHER.id: proven(ended)}
    result = verdict(PIPELINE, PLAN, evidence)
    assert not result.is_good
    assert message(result, OTHER) == reason


def test_a_damaged_outcome_is_a_missing_one_with_the_damage() -> None:
    evidence = {each.id: proven(each) for each in DONE} | {OTHER.id: Evidence(problem="damaged")}
    result = verdict(PIPELINE, PLAN, evidence)
    assert (result.is_good, message(result, OTHER)) == (False, "missing: damaged")


@pytest.mark.parametrize("state", ["done", "reused", "flaky", "waived"])
@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([], "there is no journal of its run"),
        ([RunEnd("killed")], "the journal of its run has another end"),
        ([RunEnd("passed", {"passed": 9})], "the journal of its run has another end"),
    ],
)
def test_a_good_outcome_without_the_run_that_it_is_of_is_a_missing_one(
    state: OutcomeState, runs: list[RunEnd], reason: str
) -> None:
    evidence = {each.id: proven(each) for each in DONE}
    evidence[OTHER.id] = Evidence(outcome(OTHER, state), runs=runs)
    result = verdict(PIPELINE, PLAN, evidence)
    assert not result.is_good
    assert message(result, OTHER) == f"missing: its outcome is `{state}`, and {reason}"


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("done", {"passed": 1, "failed": 5}),
        ("done", {"flaky": 1}),
        ("reused", {"errored": 1}),
        ("flaky", {"passed": 1}),
        ("waived", {"flaky": 1}),
    ],
)
def test_an_outcome_that_contradicts_its_tests_is_a_missing_one(
    state: OutcomeState, counts: dict[str, int]
) -> None:
    result = judged(*DONE[:2], outcome(OTHER, state, counts=counts))
    assert not result.is_good
    assert message(result, OTHER) == f"missing: its outcome is `{state}`, and its tests are not"


def test_one_run_of_several_attempts_is_enough() -> None:
    evidence = {each.id: proven(each) for each in DONE}
    evidence[OTHER.id] = Evidence(outcome(OTHER), runs=[RunEnd("killed"), RunEnd("passed")])
    assert verdict(PIPELINE, PLAN, evidence).is_good


def test_a_job_that_makes_an_image_has_no_run() -> None:
    image = replace(job(4), kind="image", name="image a", stage="images")
    evidence = {image.id: Evidence(outcome(image))}
    assert verdict(replace(PIPELINE, jobs=(image,)), PLAN, evidence).is_good


def test_a_job_that_is_skipped_with_a_reason_is_not_bad() -> None:
    skipped = outcome(OTHER, "skipped", message="needs a GPU")
    assert judged(*DONE[:2], skipped).is_good


def test_a_job_whose_need_failed_says_so() -> None:
    result = judged(outcome(COMPILATION, "failed"), outcome(OTHER))
    assert message(result, TEST) == f"missing: `compile ops {CELL}`, which it needs, is failed"


def test_a_plan_without_a_job_is_good_only_if_no_change_affects_any() -> None:
    compared = Trigger("pull_request", base="main")
    assert judged(pipeline=Pipeline(REVISION, compared, (), {})).is_good
    result = judged(pipeline=Pipeline(REVISION, Trigger("push"), (), {}))
    assert (result.is_good, len(result.problems)) == (False, 1)


def test_a_plan_whose_jobs_are_all_skipped_is_bad() -> None:
    jobs = tuple(replace(each, prospect="skipped", reason="no runner") for each in PIPELINE.jobs)
    assert not judged(pipeline=replace(PIPELINE, jobs=jobs)).is_good
    jobs = tuple(replace(each, prospect="reused") for each in PIPELINE.jobs)
    assert judged(pipeline=replace(PIPELINE, jobs=jobs)).is_good


def test_a_plan_that_skips_a_job_without_a_reason_is_bad() -> None:
    jobs = (*PIPELINE.jobs[:2], replace(OTHER, prospect="skipped", reason=""))
    assert not judged(*DONE, pipeline=replace(PIPELINE, jobs=jobs)).is_good


def test_a_plan_that_lacks_a_part_of_tests_is_bad() -> None:
    parts = [replace(job(number), name=f"test ops {CELL} {number}/3") for number in (1, 3)]
    pipeline = replace(PIPELINE, jobs=tuple(parts))
    result = judged(*map(outcome, parts), pipeline=pipeline)
    assert result.problems == [f"the plan has 2 of 3 parts of `test ops {CELL}`"]


def again(*outcomes: JobOutcome) -> list[str]:
    evidence = {each.id: Evidence(each) for each in outcomes}
    return [each.id for each in worth_another(PIPELINE, PLAN, evidence)]


def test_what_the_infrastructure_failed_is_tried_again_with_what_waits_for_it() -> None:
    assert again(outcome(COMPILATION, "infrastructure"), outcome(OTHER)) == [
        COMPILATION.id,
        TEST.id,
    ]


def test_there_is_no_third_attempt() -> None:
    assert again(outcome(COMPILATION, "infrastructure", attempt=2), outcome(OTHER)) == []


def test_what_failed_or_was_lost_is_not_tried_again() -> None:
    assert again(outcome(COMPILATION), outcome(TEST, "failed")) == []


def test_what_the_infrastructure_failed_in_another_plan_is_not_tried_again() -> None:
    assert again(outcome(COMPILATION, "infrastructure", plan="b" * 64)) == []


_STATE = st.sampled_from(
    ["done", "reused", "flaky", "waived", "skipped", "failed", "infrastructure"]
)
_OUTCOMES = st.builds(
    JobOutcome,
    st.sampled_from([each.id for each in PIPELINE.jobs]),
    _STATE,
    st.sampled_from([1, 2]),
    st.just("node"),
    st.sampled_from([REVISION, "", "d" * 40]),
    st.sampled_from([PLAN, "b" * 64]),
    st.sampled_from(["", "a reason"]),
)


@given(st.lists(_OUTCOMES, max_size=5))
def test_no_pipeline_is_good_without_a_good_outcome_of_each_job(outcomes: list[JobOutcome]) -> None:
    outcomes = [replace(each, counts=COUNTS.get(each.state, {})) for each in outcomes]
    evidence = {each.id: proven(each) for each in outcomes}
    result = verdict(PIPELINE, PLAN, evidence)
    good = {
        key
        for key, row in evidence.items()
        if (each := row.outcome)
        and (each.revision, each.plan) == (REVISION, PLAN)
        and each.state not in ("failed", "infrastructure")
        and (each.state != "skipped" or each.message)
    }
    assert result.is_good == (good == {each.id for each in PIPELINE.jobs})
    assert {row.job.id for row in result.rows} == {each.id for each in PIPELINE.jobs}
