from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.jobs.model import GUARDS, Graph, Job, Resources
from envmatrix.jobs.schedule import Machine, Queue, estimate, next_job

GIB = 1 << 30
ONE = Resources(1, GIB)
MACHINE = Resources(3, 5, 1, 2)


def job(
    name: str, seconds: float = 1.0, needs: Sequence[str] = (), resources: Resources = ONE
) -> Job:
    return Job(name, "compile", (name,), tuple(needs), resources, seconds)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 9),
                st.builds(Resources, *(st.integers(0, most) for most in MACHINE)),
                st.sets(st.integers(1, 30), max_size=3),
            ),
            max_size=30,
        )
    )
    jobs = [
        job(str(index), seconds, sorted(str(index - back) for back in backs if back <= index), took)
        for index, (seconds, took, backs) in enumerate(rows)
    ]
    return Graph.of(draw(st.permutations(jobs)))


def peak(graph: Graph, starts: Mapping[str, float]) -> Resources:
    """Return the most of each resource that is in use at a time."""
    most = Resources()
    for moment in starts.values():
        used = Resources()
        for key, start in starts.items():
            if start <= moment < start + graph.jobs[key].seconds:
                used += graph.jobs[key].resources
        most = Resources(*map(max, zip(most, used, strict=True)))
    return most


@given(graphs())
def test_every_job_starts_once_and_after_its_needs(graph: Graph) -> None:
    starts = estimate(graph, [MACHINE]).starts
    assert set(starts) == set(graph.jobs)
    for each in graph.jobs.values():
        assert all(
            starts[need] + graph.jobs[need].seconds <= starts[each.id] for need in each.needs
        )


@given(graphs())
def test_jobs_never_take_more_than_the_machine_has(graph: Graph) -> None:
    assert peak(graph, estimate(graph, [MACHINE]).starts).fits(MACHINE)


@given(graphs(), st.integers(1, 4))
def test_no_order_is_faster_than_the_bound(graph: Graph, count: int) -> None:
    result = estimate(graph, [MACHINE] * count)
    assert result.bound <= result.seconds + 1e-9


@given(graphs())
def test_one_job_at_a_time_takes_the_sum(graph: Graph) -> None:
    sequential = Graph.of(
        Job(each.id, each.kind, each.subject, each.needs, MACHINE, each.seconds)
        for each in graph.jobs.values()
    )
    total = sum(each.seconds for each in graph.jobs.values())
    assert estimate(sequential, [MACHINE]).seconds == pytest.approx(total)


def test_the_critical_path_is_the_longest_chain() -> None:
    graph = Graph.of([job("a", 1), job("b", 5, ["a"]), job("c", 2, ["a"]), job("d", 1, ["b", "c"])])
    assert [each.id for each in graph.critical_path] == ["a", "b", "d"]
    assert graph.urgency["a"] == 7


def test_the_job_with_the_longest_way_ahead_starts_first() -> None:
    graph = Graph.of([job("short"), job("long", 3), job("last", 9, ["first"]), job("first")])
    starts = estimate(graph, [ONE]).starts
    assert sorted(starts, key=starts.__getitem__) == ["first", "last", "long", "short"]


def test_a_large_job_is_not_overused_forever_by_small_ones() -> None:
    small = [job(f"small{index}", 2) for index in range(20)]
    large = job("large", 30, ["early"], Resources(1, 6 * GIB))
    early = job("early", 1, resources=Resources(1, GIB))
    starts = estimate(Graph.of([*small, large, early]), [Resources(4, 8 * GIB)]).starts
    assert starts["large"] <= 3


def test_what_ends_before_a_large_job_could_start_goes_ahead() -> None:
    jobs = [
        job("runs", 10, resources=Resources(1, 4 * GIB)),
        job("large", 50, resources=Resources(1, 6 * GIB)),
        job("slow", 11, resources=Resources(1, 3 * GIB)),
        job("quick", 10),
        job("modest", 11, resources=Resources(1, 2 * GIB)),
    ]
    order = Graph.of(jobs).order
    runs, large, slow, quick, modest = (order.places[each.id] for each in jobs)
    machine = Machine(Resources(4, 8 * GIB), order)
    machine.start(runs, 0)
    assert next_job([large, slow, quick], machine, 0) == quick
    assert next_job([large, slow], machine, 0) is None
    assert next_job([large, modest], machine, 0) == modest


DOWNLOAD = Resources(downloads=1)


@pytest.mark.parametrize("takes", [Resources(), DOWNLOAD], ids=["nothing", "a download"])
def test_what_takes_no_processor_starts_beside_what_waits_for_one(takes: Resources) -> None:
    jobs = [job("runs", 10), job("waits", 1), job("download", 99, resources=takes)]
    order = Graph.of(jobs).order
    runs, waits, download = (order.places[each.id] for each in jobs)
    machine = Machine(Resources(1, GIB, downloads=1), order)
    machine.start(runs, 0)
    assert next_job([waits, download], machine, 0) == download


def test_as_many_downloads_as_a_machine_may_have_are_at_once() -> None:
    graph = Graph.of(job(name, 10, resources=DOWNLOAD) for name in "abcd")
    assert estimate(graph, [Resources(1, GIB, downloads=2)]).seconds == 20


def test_a_job_for_a_larger_machine_runs_alone() -> None:
    graph = Graph.of([job("huge", 5, resources=Resources(9, 99 * GIB)), job("small", 5)])
    assert estimate(graph, [Resources(2, 2 * GIB)]).seconds == 10


def test_only_what_depends_on_a_failed_job_is_given_up() -> None:
    graph = Graph.of([job("a"), job("b", needs=["a"]), job("c", needs=["b"]), job("d")])
    order = graph.order
    queue, places = Queue(order), order.places
    assert {*queue.fail(places["a"])} == {places["b"], places["c"]}
    assert queue.fail(places["a"]) == []
    assert queue.ready == [places["a"]]


def test_jobs_with_one_id_are_one_job() -> None:
    assert list(Graph.of([job("a", 1), job("a", 2)]).jobs) == ["a"]


def test_more_machines_are_never_slower_here() -> None:
    graph = Graph.of([job(str(index), 1 + index % 7) for index in range(200)])
    seconds = [estimate(graph, [Resources(2, 8 * GIB)] * count).seconds for count in (1, 4, 16)]
    assert seconds == sorted(seconds, reverse=True)
    assert all(
        estimate(graph, [Resources(2, 8 * GIB)] * count).seconds
        <= 1.1 * estimate(graph, [Resources(2, 8 * GIB)] * count).bound
        for count in (1, 4, 16)
    )


AMOUNTS = st.builds(Resources, *[st.integers(0, 9)] * 4)


@given(AMOUNTS, AMOUNTS)
def test_packed_amounts_fit_where_each_of_them_fits(claim: Resources, free: Resources) -> None:
    fits = ((free.packed | GUARDS) - claim.packed) & GUARDS == GUARDS
    assert fits == claim.fits(free)
