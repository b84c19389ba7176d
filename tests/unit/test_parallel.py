from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import INTERRUPTED
from envmatrix.parallel import (
    Once,
    handling_interruptions,
    interrupt_once,
    run_dependent,
    run_parallel,
)


def test_results_are_in_the_order_of_the_items() -> None:
    def wait_longer_for_smaller(number: int) -> int:
        time.sleep(0.01 * (3 - number))
        return number * 2

    assert run_parallel(wait_longer_for_smaller, range(3), 3) == (0, 2, 4)
    assert run_parallel(wait_longer_for_smaller, (), 3) == ()


def test_no_more_items_than_jobs_run_at_once() -> None:
    both = threading.Barrier(2, timeout=10)
    assert run_parallel(lambda _: both.wait() in (0, 1), range(4), 2) == (True,) * 4


def test_a_failure_cancels_what_has_not_begun() -> None:
    started: list[int] = []

    def work(number: int) -> None:
        started.append(number)
        if number == 0:
            raise ValueError("broken")
        time.sleep(0.001)

    with pytest.raises(ValueError, match="broken"):
        run_parallel(work, range(10_000), 1)
    assert len(started) < 10_000


def test_a_failure_is_raised_once_what_runs_has_ended_at_its_request() -> None:
    stop, ended = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def work(is_broken: bool) -> None:
        if is_broken:
            raise ValueError("broken")
        assert stop.wait(10)
        ended.set()

    def end(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    with pytest.raises(ValueError, match="broken") as caught:
        run_parallel(work, (False, True), 2, end)
    assert ended.is_set()
    assert failures == [caught.value]


def test_an_interruption_while_work_is_handed_out_cancels_the_rest() -> None:
    started: list[int] = []

    def numbers() -> Iterator[int]:
        yield from range(100)
        raise KeyboardInterrupt

    def work(number: int) -> None:
        started.append(number)
        time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        run_parallel(work, numbers(), 1)
    assert len(started) < 100


@given(
    st.dictionaries(st.integers(0, 20), st.sets(st.integers(0, 20), max_size=3), max_size=20),
    st.integers(1, 4),
)
def test_an_item_begins_after_those_that_it_needs_have_ended(
    graph: Mapping[int, set[int]], jobs: int
) -> None:
    needs = {item: {need for need in rows if need < item} for item, rows in graph.items()}
    ended: list[int] = []

    def work(item: int) -> int:
        assert needs.get(item, set()) <= {*ended}
        ended.append(item)
        return -item

    with ThreadPoolExecutor(jobs) as pool:
        results = run_dependent(work, needs, lambda _: pool)
    assert results == {item: -item for item in ended}
    assert needs.keys() <= results.keys()
    assert len(ended) == len({*ended})


def test_items_wait_only_for_those_of_their_pool_and_begin_in_their_order() -> None:
    starts: list[str] = []
    is_small = threading.Event()

    def work(item: str) -> None:
        starts.append(item)
        if item == "large":
            assert is_small.wait(10)
        if item == "small":
            is_small.set()

    needs: dict[str, list[str]] = {"large": [], "larger": [], "small": []}
    with ThreadPoolExecutor(1) as slow, ThreadPoolExecutor(1) as quick:
        run_dependent(work, needs, lambda item: quick if item == "small" else slow)
    assert [item for item in starts if item != "small"] == ["large", "larger"]


def test_after_a_failure_nothing_else_begins_and_what_runs_may_be_ended() -> None:
    stop = threading.Event()
    starts: list[str] = []

    def work(item: str) -> None:
        starts.append(item)
        if item == "broken":
            raise ValueError("broken")
        assert stop.wait(10)

    needs: dict[str, list[str]] = {"runs": [], "broken": [], "dependent": ["broken"], "later": []}
    with pytest.raises(ValueError, match="broken"), ThreadPoolExecutor(2) as pool:
        run_dependent(work, needs, lambda _: pool, lambda _: stop.set())
    assert {"runs", "broken"} <= {*starts} <= {"runs", "broken", "later"}


def test_of_many_threads_one_takes_care_of_an_event() -> None:
    event = Once()
    assert not event.has_happened
    results = run_parallel(lambda _: event.happens(), range(20), 20)
    assert sorted(results) == [False] * 19 + [True]
    assert event.has_happened


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_interrupt_what_cleans_up(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with handling_interruptions(interrupt_once()):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def ended_by(*signals: str) -> int:
    """Return the status of a program that handles these signals and hangs."""
    program = f"""
import signal
from envmatrix import parallel
parallel.handle_interruptions(lambda: None)
keys = iter({[*range(len(signals))]})
parallel.time.monotonic = lambda: next(keys)
for name in {signals}:
    signal.raise_signal(signal.Signals[name])
"""
    return subprocess.run([sys.executable, "-c", program], check=False, stderr=-1).returncode


@pytest.mark.parametrize(
    ("signals", "status"),
    [
        (("SIGINT", "SIGTERM"), 0),
        (("SIGINT", "SIGINT"), INTERRUPTED),
        (("SIGTERM", "SIGTERM", "SIGTERM"), INTERRUPTED),
    ],
)
def test_a_second_key_or_a_third_signal_ends_a_program_that_hangs(
    signals: tuple[str, ...], status: int
) -> None:
    assert ended_by(*signals) == status
