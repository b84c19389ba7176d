from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.results.examples import CELL, record

from envmatrix.errors import Position
from envmatrix.results import summary
from envmatrix.results.queries import Sighting, StoredRun
from envmatrix.results.records import End, Record, Revision
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.outcomes import State

TODAY = date(2026, 1, 1)


def stored(entry: Record) -> StoredRun:
    return StoredRun(entry.run, entry.end, entry.counts)


def started(runs: Sequence[StoredRun]) -> list[tuple[str, str, float]]:
    return [(run.run.work, run.run.shard, run.run.started) for run in runs]


def counting(*records: Record) -> list[tuple[str, str, float]]:
    (runs,) = summary.newest_runs(map(stored, records)).values()
    return started(runs)


def test_a_run_that_compiled_only_does_not_count_beside_a_later_one_with_tests() -> None:
    assert counting(record(1, verb="compile"), record(2)) == [("test", "", 2.0)]


def test_tests_count_while_a_later_compilation_is_good() -> None:
    rows = counting(record(2, verb="compile"), record(1))
    assert rows == [("compile", "", 2.0), ("test", "", 1.0)]


def test_tests_of_before_it_no_longer_compiled_do_not_count() -> None:
    rows = counting(record(2, verb="compile", state="failed"), record(1))
    assert rows == [("compile", "", 2.0)]


def test_tests_on_each_machine_and_steps_count_for_themselves() -> None:
    rows = counting(
        record(2, part="on-t4"),
        record(3, verb="step", part="nvrtc"),
        record(4, part="on-h100", state="failed"),
    )
    assert [(verb, moment) for verb, _, moment in rows] == [
        ("step nvrtc", 3.0),
        ("test on-h100", 4.0),
        ("test on-t4", 2.0),
    ]


def test_tests_of_before_a_machine_was_required_do_not_count_nor_the_other_way_round() -> None:
    plain, placed = record(1), record(2, part="on-h100")
    assert counting(plain, placed) == [("test on-h100", "", 2.0)]
    assert counting(record(3), placed) == [("test", "", 3.0)]


def test_tests_on_machines_and_steps_of_before_it_no_longer_compiled_do_not_count() -> None:
    rows = counting(
        record(3, verb="compile", state="failed"),
        record(1, part="on-h100"),
        record(2, verb="step", part="nvrtc"),
    )
    assert rows == [("compile", "", 3.0)]


def test_the_shards_of_the_newest_partition_count_together() -> None:
    rows = counting(
        record(1),
        record(2, shard="1/2"),
        record(3, shard="2/2"),
        record(4, shard="1/3"),
        record(5, shard="2/3"),
        record(6, shard="3/3"),
    )
    assert rows == [("test", "1/3", 4.0), ("test", "2/3", 5.0), ("test", "3/3", 6.0)]


def test_a_library_is_as_bad_as_the_worst_of_its_runs() -> None:
    runs = [stored(record(1)), stored(record(2, verb="perf", state="failed"))]
    assert summary.ReportEntry("lib", CELL, runs).state == "failed"
    assert summary.ReportEntry("lib", CELL, runs[:1]).state == "passed"


def waiver(test: str, *, library: str = "*", cell: str = "*", day: str = "2026-06-30") -> Waiver:
    where = Position("waivers.yaml", 3, 5)
    return Waiver(
        test=test,
        library=library,
        cell=cell,
        owner="ana",
        bug="BUG-1",
        expires=date.fromisoformat(day),
        position=where,
    )


def failures(entry: Record, *waivers: Waiver) -> dict[str, Waiver | None]:
    result = summary.waive(summary.failures_of(stored(entry), entry.outcomes), waivers, TODAY)
    return {failure.name: failure.waiver for failure in result}


BAD = record(1, {"a": "passed", "b": "failed", "c.1": "errored"})


def test_what_fails_are_the_tests_that_fail() -> None:
    assert failures(BAD) == {"b": None, "c.1": None}


def test_where_no_test_fails_it_is_the_step() -> None:
    assert failures(record(1, verb="compile", state="failed")) == {"step:compile": None}
    assert failures(record(1, {"a": "passed"}, state="killed")) == {"step:test": None}
    assert failures(record(1, {"a": "passed"})) == {}


def test_a_waiver_covers_by_globs() -> None:
    rule = waiver("c.*")
    assert failures(BAD, rule) == {"b": None, "c.1": rule}
    assert failures(BAD, waiver("*", library="other")) == {"b": None, "c.1": None}
    assert failures(BAD, waiver("*", cell="cuda12*")) == {"b": None, "c.1": None}
    rule = waiver("*", cell="cuda13*", library="l?b")
    assert failures(BAD, rule) == {"b": rule, "c.1": rule}


def test_a_waiver_covers_until_the_end_of_its_day() -> None:
    last = waiver("b", day="2026-01-01")
    assert failures(BAD, last)["b"] == last
    assert failures(BAD, waiver("b", day="2025-12-31"))["b"] is None


def test_an_expired_waiver_does_not_hide_one_that_is_in_force() -> None:
    rule = waiver("b")
    assert failures(BAD, waiver("b", day="2025-12-31"), rule)["b"] == rule


def sightings_of(*states: State, committed: Sequence[float] = ()) -> list[Sighting]:
    """Return sightings of revisions r0, r1, ... one after the other."""
    times = dict(enumerate(committed))
    return [
        Sighting(f"run{n}", Revision(f"r{n}", "", times.get(n)), float(n), state)
        for n, state in enumerate(states)
    ]


def revisions(sightings: Sequence[Sighting]) -> tuple[str | None, str | None]:
    origin = summary.origin(sightings)
    if origin is None:
        return None, None
    good = origin.last_good
    return origin.first_bad.revision.id, good.revision.id if good else None


def test_it_is_bad_since_the_first_after_the_last_good_one() -> None:
    assert revisions(sightings_of("failed", "passed", "failed", "errored")) == ("r2", "r1")
    assert revisions(sightings_of("passed", "killed")) == ("r1", "r0")


def test_what_is_good_now_is_bad_since_never() -> None:
    assert revisions(sightings_of("failed", "passed")) == (None, None)
    assert revisions(sightings_of("failed", "flaky")) == (None, None)
    assert revisions([]) == (None, None)


def test_what_was_never_good_has_no_last_good_one() -> None:
    assert revisions(sightings_of("skipped", "failed", "failed")) == ("r1", None)


def test_a_skip_says_nothing() -> None:
    assert revisions(sightings_of("passed", "skipped", "failed", "skipped")) == ("r2", "r0")


def test_commits_are_in_the_order_of_their_own_times() -> None:
    # r1 was run last, and is older than r0
    bisected = sightings_of("failed", "passed", committed=[200.0, 100.0])
    assert revisions(bisected) == ("r0", "r1")


@given(st.lists(st.sampled_from(["passed", "failed"]), min_size=1), st.randoms())
def test_the_order_in_which_runs_are_told_does_not_matter(
    states: list[State], chance: Random
) -> None:
    sightings = sightings_of(*states)
    shuffled = list(sightings)
    chance.shuffle(shuffled)
    assert summary.origin(shuffled) == summary.origin(sightings)


def slowdown(*seconds: float, last: State = "passed") -> summary.Slowdown | None:
    """Return the slowdown of runs that took so long, the newest last, which ended as `last`."""
    states: list[State] = [*["passed" for _ in seconds[1:]], last]  # type: ignore[list-item]
    rows = [End(state, duration) for state, duration in zip(states, seconds, strict=True)]
    return summary.slowdown(("lib", CELL, "test"), rows)


def test_a_run_is_slower_by_a_quarter_and_a_second_than_the_median_before() -> None:
    assert slowdown(10, 10, 10, 10, 10, 20) == summary.Slowdown("lib", CELL, "test", 10, 20)
    assert slowdown(10, 10, 10, 10, 10, 12) is None
    assert slowdown(0.1, 0.1, 0.1, 0.1, 0.1, 0.9) is None


def test_few_runs_say_nothing_of_the_time() -> None:
    assert slowdown(10, 10, 10, 10, 20) is None


def test_a_run_that_fails_says_nothing_of_the_time() -> None:
    assert slowdown(10, 10, 10, 10, 10, 10, 99, last="failed") is None


def test_what_passed_before_and_fails_now_is_broken() -> None:
    now = summary.failures_of(stored(BAD), BAD.outcomes)
    before: dict[tuple[str, str, str], State] = {("lib", CELL, "b"): "passed"}
    assert [failure.name for failure in summary.newly_broken(before, now)] == ["b"]
    assert summary.newly_broken({("lib", CELL, "b"): "failed"}, now) == ()


def test_a_commit_is_told_by_its_first_digits() -> None:
    assert summary.revision_text(Revision("0123456789" * 4)) == "012345678901"
    assert summary.revision_text(Revision("0123456789" * 4 + "-changed")).startswith("0123456789")
    assert summary.revision_text(Revision("4.2.0")) == "4.2.0"
