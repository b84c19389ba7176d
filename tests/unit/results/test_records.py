from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.results.examples import record, run

from envmatrix.results.records import End, InvalidRecord, Part, Record, line_of, record_of
from envmatrix.sessions.outcomes import Measurement, Step, TestOutcome
from envmatrix.sessions.products import Product


def parts(entry: Record) -> list[Part]:
    return [
        entry.run,
        *entry.steps,
        *entry.outcomes,
        *entry.measurements,
        *entry.products,
        entry.end,
    ]


def lines(entry: Record) -> list[str]:
    return [line_of(part) for part in parts(entry)]


FULL = record(
    7,
    {"a": "passed", "b": "failed"},
    steps=[Step("compile", 0, 1.5, "warning: ü\n")],
    measurements=[Measurement("axpy", 1.5, "GB/s", "higher")],
    products=[Product("libx.so", "x86_64", 12, "0" * 64)],
)


def test_a_journal_tells_all_of_a_run() -> None:
    assert record_of(lines(FULL)) == FULL


text = st.text(max_size=20)
outcomes = st.builds(
    TestOutcome,
    text,
    st.sampled_from(["passed", "flaky", "failed", "errored", "skipped"]),
    st.floats(0, 1e6),
    text,
    st.integers(1, 9),
    text,
)


@given(st.lists(outcomes), text, st.floats(0, 1e9))
def test_whatever_tests_print_comes_back(
    outcomes: list[TestOutcome], message: str, seconds: float
) -> None:
    entry = Record(run(), End("failed", seconds, "product", message), (), tuple(outcomes))
    journal = lines(entry)
    assert all("\n" not in line for line in journal)
    assert record_of(journal) == entry


@given(st.data())
def test_a_journal_that_is_cut_anywhere_tells_what_is_whole_of_it(data: st.DataObject) -> None:
    whole = "\n".join(lines(FULL)) + "\n"
    length = data.draw(st.integers(0, len(whole) - 2))
    if length < len(lines(FULL)[0]):
        with pytest.raises(InvalidRecord, match="no beginning"):
            record_of(whole[:length].splitlines())
        return
    entry = record_of(whole[:length].splitlines())
    assert entry.run == FULL.run
    assert entry.end.state == "killed"
    assert entry.end.cause == "infrastructure"
    assert entry.outcomes == FULL.outcomes[: len(entry.outcomes)]


def test_what_stands_behind_a_broken_line_does_not_count() -> None:
    journal = lines(FULL)
    entry = record_of([journal[0], "{broken", *journal[1:]])
    assert entry.outcomes == ()


def test_a_killed_run_took_as_long_as_its_steps() -> None:
    entry = record_of(lines(FULL)[:-1])
    assert entry.end.seconds == 1.5


def test_tests_are_counted_by_state() -> None:
    assert FULL.counts == {"passed": 1, "failed": 1}
