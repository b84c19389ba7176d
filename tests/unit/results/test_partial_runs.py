"""Runs of some tests: they say nothing of the others."""

from __future__ import annotations

from datetime import date

import pytest
from tests.unit.results.examples import record

from envmatrix.results.database import Database
from envmatrix.results.records import Record
from envmatrix.results.report import Scope, compose
from envmatrix.results.summary import Report
from envmatrix.sessions.outcomes import State

GOOD: dict[str, State] = {"a": "passed", "b": "passed", "c": "passed"}
RED: dict[str, State] = {"a": "passed", "b": "failed", "c": "passed"}


def reported(database: Database, *records: Record) -> Report:
    for entry in records:
        database.add(entry)
    with database.reading() as connection:
        return compose(connection, Scope(date(2026, 1, 1), 100.0))


def part(number: int, tests: dict[str, State], *, extent: str = "since", shard: str = "") -> Record:
    return record(number, tests, extent=extent, shard=shard)


def aborted(number: int, *, extent: str = "") -> Record:
    """Return a run that ended before its tests."""
    return record(number, state="errored", extent=extent)


# What ran, the state that this comes to, and the tests that fail.
CASES: dict[str, tuple[list[Record], State, list[str]]] = {
    "arguments do not make it red": (
        [record(1, GOOD), part(2, {"b": "failed"}, extent="arguments")],
        "passed",
        [],
    ),
    "arguments that fit no test do not make it red": (
        [record(1, GOOD), aborted(2, extent="arguments")],
        "passed",
        [],
    ),
    "arguments do not make it green": (
        [record(1, RED), part(2, {"b": "passed"}, extent="arguments")],
        "failed",
        ["b"],
    ),
    "tests that did not run again still fail": (
        [record(1, RED), part(2, {"a": "passed"})],
        "failed",
        ["b"],
    ),
    "what failed and passes now is good": (
        [record(1, RED), part(2, {"b": "passed"})],
        "passed",
        [],
    ),
    "what passed and fails now is bad": (
        [record(1, GOOD), part(2, {"c": "failed"})],
        "failed",
        ["c"],
    ),
    "a later part does not hide an earlier one": (
        [record(1, GOOD), part(2, {"c": "failed"}), part(3, {"a": "passed"})],
        "failed",
        ["c"],
    ),
    "a whole run is all that counts": (
        [part(1, {"c": "failed"}), record(2, GOOD)],
        "passed",
        [],
    ),
    "nothing was to run": ([record(1, RED), part(2, {})], "failed", ["b"]),
    "a part that did not get to its tests is bad": (
        [record(1, GOOD), aborted(2, extent="since")],
        "errored",
        ["step:test"],
    ),
    "until another one does": (
        [record(1, GOOD), aborted(2, extent="since"), part(3, {"a": "passed"})],
        "passed",
        [],
    ),
    "tests that no run got to are not good by a part": (
        [aborted(1), part(2, {"a": "passed"})],
        "errored",
        ["step:test"],
    ),
    "one shard says nothing of the others": (
        [record(1, RED), part(2, {"a": "passed"}, extent="", shard="1/2")],
        "failed",
        ["b"],
    ),
    "a shard that has it says it": (
        [record(1, RED), part(2, {"b": "passed"}, extent="", shard="2/2")],
        "passed",
        [],
    ),
    "all shards are a whole run": (
        [
            record(1, {**RED, "removed": "failed"}),
            part(2, {"a": "passed", "c": "passed"}, extent="", shard="1/2"),
            part(3, {"b": "passed"}, extent="", shard="2/2"),
        ],
        "passed",
        [],
    ),
    "parts alone are what there is": ([part(1, {"a": "failed"})], "failed", ["a"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_of_some_tests_says_nothing_of_the_others(database: Database, case: str) -> None:
    records, state, failing = CASES[case]
    report = reported(database, *records)
    (entry,) = report.entries
    assert entry.state == state
    assert [failure.name for failure in report.failures] == failing


def test_a_test_is_counted_once_by_what_it_came_to_last(database: Database) -> None:
    report = reported(database, record(1, RED), part(2, {"b": "passed", "d": "passed"}))
    (entry,) = report.entries
    assert entry.counts == {"passed": 4}


def test_only_arguments_say_nothing_of_a_library(database: Database) -> None:
    assert reported(database, part(1, {"a": "passed"}, extent="arguments")).entries == ()


def test_arguments_make_nothing_flaky_and_nothing_slower(database: Database) -> None:
    runs = [record(number, GOOD, revision="r", seconds=50.0) for number in range(1, 9)]
    odd = record(9, {"a": "failed"}, revision="r", extent="arguments", seconds=900.0)
    report = reported(database, *runs, odd)
    assert (report.flaky, report.slower) == ((), ())


def test_since_when_a_test_fails_is_not_told_by_arguments(database: Database) -> None:
    odd = part(2, {"b": "passed"}, extent="arguments")
    report = reported(database, record(1, RED), odd, record(3, RED))
    (failure,) = report.failures
    assert failure.origin is not None
    assert (failure.origin.first_bad.started, failure.origin.last_good) == (1.0, None)
