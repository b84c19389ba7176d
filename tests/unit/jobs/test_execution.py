from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.jobs.test_schedule import graphs, job

from envmatrix.jobs.execution import (
    Execution,
    JobResult,
    JobState,
    Report,
    goals_of,
    prospects,
    remaining,
)
from envmatrix.jobs.model import Graph, Job, Resources

MACHINE = Resources(3, 5, 1, 2)
STATES: Sequence[JobState] = ("done", "flaky", "failed", "skipped")

# A diamond: `top` needs `left` and `right`, which both need `base`.
DIAMOND = Graph.of(
    job(name, 1, needs)
    for name, *needs in (("top", "left", "right"), ("left", "base"), ("right", "base"), ("base",))
)


def execute(
    graph: Graph, states: Mapping[str, JobState] | None = None, *, fails_fast: bool = False
) -> Mapping[str, JobState]:
    """Execute a graph; jobs end in the order in which they start, `done` unless `states` differ."""
    execution = Execution(graph, Resources(9, 1 << 40, 9), fails_fast=fails_fast)
    running: list[Job] = []
    while not execution.is_over:
        while started := execution.start_next(0.0):
            running.append(started)
        ended = running.pop(0)
        execution.end(ended, JobResult((states or {}).get(ended.id, "done")))
    return {key: result.state for key, result in execution.results.items()}


def test_a_failure_stops_only_what_depends_on_it() -> None:
    assert execute(DIAMOND, {"left": "failed"}) == {
        "base": "done",
        "left": "failed",
        "right": "done",
        "top": "left out",
    }


@pytest.mark.parametrize("state", ["flaky", "waived", "skipped", "reused"])
def test_other_ends_stop_nothing(state: JobState) -> None:
    assert execute(DIAMOND, {"left": state})["top"] == "done"


def test_what_is_left_out_says_why() -> None:
    execution = Execution(Graph.of([job("a"), job("b", 1, ["a"])]), MACHINE)
    started = execution.start_next(0.0)
    assert started
    execution.end(started, JobResult("failed"))
    assert execution.results["b"] == JobResult("left out", message="`compile a` failed")


def test_the_first_failure_ends_everything_if_asked_for() -> None:
    graph = Graph.of([job("a", 9), job("b"), job("c", 1, ["b"])])
    states = execute(graph, {"a": "failed"}, fails_fast=True)
    assert states == {"a": "failed", "b": "done", "c": "left out"}


def test_a_limit_of_jobs_holds() -> None:
    execution = Execution(Graph.of(map(job, "abc")), Resources(9, 1 << 40), most=2)
    assert execution.start_next(0.0)
    assert execution.start_next(0.0)
    assert execution.start_next(0.0) is None
    assert execution.queued == 1


@given(graphs(), st.data())
def test_every_job_ends_once_and_after_its_needs(graph: Graph, data: st.DataObject) -> None:
    execution = Execution(graph, MACHINE, data.draw(st.none() | st.integers(1, 3)))
    running: list[Job] = []
    ended: list[str] = []
    while not execution.is_over:
        while started := execution.start_next(float(len(ended))):
            good = {key for key in ended if execution.results[key].state != "failed"}
            assert {*started.needs} <= good
            running.append(started)
        assert running
        last = running.pop(data.draw(st.integers(0, len(running) - 1)))
        execution.end(last, JobResult(data.draw(st.sampled_from(STATES))))
        ended.append(last.id)
    assert execution.results.keys() == graph.jobs.keys()
    left_out = {key for key, result in execution.results.items() if result.state == "left out"}
    assert left_out.isdisjoint(ended)
    for key in left_out:
        assert any(execution.results[need].is_bad for need in graph.jobs[key].needs)


@given(graphs(), st.data())
def test_what_remains_are_the_goals_that_are_not_done_with_all_that_they_need(
    graph: Graph, data: st.DataObject
) -> None:
    keys = [*graph.jobs]
    subsets = st.lists(st.sampled_from(keys), unique=True) if keys else st.just([])
    goals, done = data.draw(subsets), {*data.draw(subsets)}
    left = remaining(graph, goals, done).jobs
    assert {*goals} - done <= left.keys()
    assert left.keys().isdisjoint(done)
    needs = {need for key in left for need in graph.jobs[key].needs}
    assert needs - done <= left.keys() <= needs | {*goals}
    assert all({*left[key].needs} <= left.keys() for key in left)


def test_what_only_a_reused_job_needs_is_not_done() -> None:
    assert remaining(DIAMOND, ["top"], {"top"}).jobs == {}
    assert remaining(DIAMOND, ["top"], {"left"}).jobs.keys() == {"top", "right", "base"}
    assert remaining(DIAMOND, ["top"], {"left", "right"}).jobs["top"].needs == ()


def test_each_job_is_reused_not_needed_or_to_do() -> None:
    everything_is_left = dict.fromkeys(DIAMOND.jobs, "to do")
    assert prospects(DIAMOND, ["top"], (), ()) == everything_is_left
    assert prospects(DIAMOND, ["top"], {"left"}, {"base"}) == {
        "top": "to do",
        "left": "reused",
        "right": "to do",
        "base": "not needed",
    }
    assert {*prospects(DIAMOND, ["top"], {"top"}, ()).values()} == {"reused", "not needed"}


def test_jobs_that_need_nothing_more_keep_no_other_job() -> None:
    graph = DIAMOND.without_needs_of(["left", "right"])
    assert remaining(graph, ["top"], {"left"}).jobs.keys() == {"top", "right"}
    assert DIAMOND.lasting({"left": 9.0}).urgency["base"] == 11


def test_the_goals_are_tests_and_compilations_without_tests() -> None:
    graph = Graph.of(
        [
            Job("i", "image", ("i",)),
            Job("tested", "compile", ("a", "cell"), ("i",)),
            Job("test", "test", ("a", "cell"), ("tested",)),
            Job("untested", "compile", ("b", "cell"), ("i",)),
        ]
    )
    assert goals_of(graph, "test") == ("test", "untested")
    assert {*goals_of(graph, "compile")} == {"tested", "untested"}


def test_the_goals_of_measuring_are_measurements_alone() -> None:
    jobs = [
        Job("compiled", "compile", ("a", "cell")),
        Job("measured", "measure", ("a", "cell"), ("compiled",)),
    ]
    assert goals_of(Graph.of(jobs), "perf") == ("measured",)


@pytest.mark.parametrize(
    ("states", "cells", "is_skipped"),
    [
        (("skipped", "skipped"), {}, True),
        (("skipped", "done"), {}, False),
        (("skipped", "failed"), {}, False),
        (("postponed", "skipped"), {}, True),
        (("postponed", "reused"), {}, False),
        ((), {"sbsa": "another machine"}, True),
        ((), {}, False),
        (("reused",), {"sbsa": "another machine"}, False),
    ],
)
def test_a_report_is_skipped_if_no_goal_was_done(
    states: Sequence[JobState], cells: Mapping[str, str], *, is_skipped: bool
) -> None:
    results = {str(number): JobResult(state) for number, state in enumerate(states)}
    jobs = {key: job(key) for key in (*results, "needed")}
    ended = {**results, "needed": JobResult("done")}
    assert Report(jobs, ended, cells, 1.0, goals=tuple(results)).is_skipped == is_skipped


def test_a_report_counts_in_the_order_of_reading() -> None:
    results = {"a": JobResult("failed"), "b": JobResult("done"), "c": JobResult("left out")}
    report = Report({key: job(key) for key in "abc"}, results, {}, 1.0)
    assert [*report.counts] == ["done", "failed", "left out"]
    assert [entry.id for entry, _ in report.in_state("failed")] == ["a"]
    assert report.is_bad


@pytest.mark.parametrize("state", ["done", "reused", "flaky", "waived", "skipped", "postponed"])
def test_these_ends_are_no_failure(state: JobState) -> None:
    assert not Report({"a": job("a")}, {"a": JobResult(state)}, {}, 1.0).is_bad


def test_a_job_of_6_gb_beside_three_of_1_gb_stays_within_8_gb() -> None:
    sizes = {"a": 6, "b": 1, "c": 1, "d": 1}
    large, *small = (job(name, 9, (), Resources(1, gb * 10**9)) for name, gb in sizes.items())
    execution = Execution(Graph.of([large, *small]), Resources(8, 8 * 10**9))
    started = [execution.start_next(0.0) for _ in range(4)]
    assert started.count(None) == 1
    assert sum(entry.resources.memory for entry in execution.running.values()) == 8 * 10**9
    execution.end(large, JobResult("done"))
    assert execution.start_next(9.0)
