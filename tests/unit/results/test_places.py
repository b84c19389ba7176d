"""Stored summaries never differ from computed ones, whoever writes: on every kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.results.examples import CELL, record

from envmatrix.errors import Position
from envmatrix.records import dataclass
from envmatrix.results import tables
from envmatrix.results.database import Database
from envmatrix.results.journal import open_journal
from envmatrix.results.location import Location
from envmatrix.results.places import FLAKY_SECONDS, refresh
from envmatrix.results.records import Record
from envmatrix.results.report import Scope, compose
from envmatrix.results.summary import Report
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.outcomes import COUNTED, COVERAGE, Measurement, State
from envmatrix.sessions.products import Product

TODAY = date(2026, 1, 1)
OTHER = "cuda12.4-debian12-x86_64"
WAIVER = Waiver(
    test="a",
    library="l*",
    owner="ana",
    bug="BUG-1",
    expires=date(2026, 6, 30),
    position=Position("waivers.yaml", 3, 5),
)
FULL = record(
    1,
    {"a": "failed", "b": "passed", "c": "flaky"},
    cause="product",
    measurements=[Measurement(COVERAGE, 80.0, "%", "higher")],
    products=[Product("libx.so", "x86_64", 12)],
)


def scope(since: float = 0.0) -> Scope:
    """Return a scope in which tests are flaky since a moment."""
    return Scope(TODAY, FLAKY_SECONDS + since, (WAIVER,))


def stored(database: Database) -> list[str | None]:
    with database.reading() as connection:
        return list(connection.scalars(sa.select(tables.places.c.summary)))


def reported(database: Database, since: float = 0.0) -> Report:
    with database.reading() as connection:
        return compose(connection, scope(since))


def computed(database: Database, since: float = 0.0) -> Report:
    """Return the report of a store without any summary."""
    with database.engine.connect() as connection:
        connection.execute(sa.update(tables.places).values(summary=None))
        report = compose(connection, scope(since))
        connection.rollback()
    return report


# A change of the store by any program.
Change: TypeAlias = Callable[[Database], None]


def execute(*statements: sa.Executable) -> Change:
    def change(database: Database) -> None:
        with database.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    return change


STATES: st.SearchStrategy[State] = st.sampled_from(
    ["passed", "passed", "failed", "flaky", "skipped", "errored"]
)
NUMBERS = st.integers(0, 8)
IDS = count()


@st.composite
def insertions(draw: st.DrawFn) -> Change:
    entry = record(
        draw(NUMBERS),
        draw(st.dictionaries(st.sampled_from("abc"), STATES)),
        state=draw(st.sampled_from([None, None, None, "killed", "errored"])),
        seconds=draw(st.sampled_from([1.0, 2.0, 9.0])),
        measurements=[Measurement(COVERAGE, 80.5, "%", "higher")] * draw(st.integers(0, 1)),
        products=[Product("libx.so", "x86_64", draw(NUMBERS))] * draw(st.integers(0, 1)),
        library=draw(st.sampled_from(["lib", "other"])),
        cell=draw(st.sampled_from([CELL, OTHER])),
        verb=draw(st.sampled_from(["test", "test", "test", "compile", "perf"])),
        revision=draw(st.sampled_from([None, "", "r", "s"])),
        committed=draw(st.none() | NUMBERS.map(float)),
        shard=draw(st.sampled_from(["", "", "", "1/2", "2/2"])),
        extent=draw(st.sampled_from(["", "", "", "since", "arguments"])),
        part=draw(st.sampled_from(["", "", "on-h100"])),
    )
    entry = replace(entry, run=replace(entry.run, id=f"{next(IDS)}"))
    return lambda database: database.add(entry)


def recounted() -> sa.Update:
    """Return the statement that has all runs count the tests that they have."""
    runs, outcomes = tables.runs, tables.outcomes
    of_run = sa.select(sa.func.count()).where(outcomes.c.run == runs.c.id)
    counts = {
        str(state): of_run.where(outcomes.c.state == state).scalar_subquery() for state in COUNTED
    }
    return sa.update(runs).values(**counts)


@st.composite
def changes_by_others(draw: st.DrawFn) -> Change:
    """Return a change of what is stored, of the runs that start at one second; if a program changed
    tests and not what their runs count, they contradict each other."""
    runs, outcomes = tables.runs, tables.outcomes
    counts = [recounted()] * draw(st.integers(0, 1))
    at_once = runs.c.started == float(draw(NUMBERS))
    of_runs = outcomes.c.run.in_(sa.select(runs.c.id).where(at_once))
    return draw(
        st.sampled_from(
            [
                execute(sa.delete(runs).where(at_once)),
                execute(sa.update(runs).where(at_once).values(library="other")),
                execute(sa.update(runs).where(at_once).values(started=float(draw(NUMBERS)))),
                execute(sa.update(runs).where(at_once).values(state="failed")),
                execute(sa.update(outcomes).where(of_runs).values(state=draw(STATES)), *counts),
                execute(sa.delete(outcomes).where(of_runs), *counts),
            ]
        )
    )


REFRESHES = NUMBERS.map(lambda since: lambda database: refresh(database, FLAKY_SECONDS + since))
INSERTIONS = st.lists(insertions(), min_size=1, max_size=12)
CHANGES = st.lists(insertions() | changes_by_others() | REFRESHES, min_size=1, max_size=4)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(inserted=INSERTIONS, changes=CHANGES, since=NUMBERS)
def test_a_report_is_the_same_with_stored_summaries(
    database: Database, inserted: list[Change], changes: list[Change], since: int
) -> None:
    execute(sa.delete(tables.runs), sa.delete(tables.places))(database)
    for insert in inserted:
        insert(database)
    refresh(database, FLAKY_SECONDS + since)
    for change in changes:
        assert reported(database, since) == computed(database, since)
        change(database)
    assert reported(database, since) == computed(database, since)
    assert reported(database, since + 1) == computed(database, since + 1)
    assert reported(database) == computed(database)
    refresh(database, FLAKY_SECONDS)
    assert None not in stored(database) or reported(database).left_out


def test_a_summary_is_not_stored_over_a_change_that_it_lacks(database: Database) -> None:
    @dataclass(frozen=True)
    class Overtaken(Database):
        @contextmanager
        def writing(self) -> Iterator[sa.Connection]:
            database.add(record(2, {"a": "passed"}))
            with database.writing() as connection:
                yield connection

    database.add(FULL)
    refresh(Overtaken(database.engine, database.address), FLAKY_SECONDS)
    assert stored(database) == [None]
    refresh(database, FLAKY_SECONDS)
    assert stored(database) != [None]
    assert reported(database) == computed(database)


STATEMENTS: Mapping[str, sa.Executable] = {
    f"{name} of {table.name}": statement
    for table in (tables.outcomes, tables.measurements, tables.products)
    for name, statement in [
        ("an update", sa.update(table).values(position=7 + table.c.position)),
        ("a deletion", sa.delete(table)),
        (
            "an insertion",
            sa.insert(table).from_select(
                [column.name for column in table.c],
                sa.select(
                    *(
                        (column + 7).label("position") if column.name == "position" else column
                        for column in table.c
                    )
                ),
            ),
        ),
    ]
} | {
    "an update of runs": sa.update(tables.runs).values(seconds=9.0),
    "a deletion of runs": sa.delete(tables.runs),
}


@pytest.mark.parametrize("change", STATEMENTS)
def test_whatever_changes_a_run_removes_the_summary_of_its_place(
    database: Database, change: str
) -> None:
    database.add(FULL)
    refresh(database, FLAKY_SECONDS)
    assert None not in stored(database)
    execute(STATEMENTS[change])(database)
    assert stored(database) == [None]


def test_the_deletion_of_a_run_without_parts_removes_the_summary(
    database: Database,
) -> None:
    database.add(record(1))
    refresh(database, FLAKY_SECONDS)
    execute(sa.delete(tables.runs))(database)
    assert stored(database) == [None]


def test_a_run_that_moves_removes_the_summaries_of_both_places(database: Database) -> None:
    for entry in (FULL, record(1, cell=OTHER)):
        database.add(entry)
    refresh(database, FLAKY_SECONDS)
    execute(sa.update(tables.runs).where(tables.runs.c.cell == CELL).values(cell=OTHER))(database)
    assert stored(database) == [None, None]
    assert {entry.cell for entry in reported(database).entries} == {OTHER}


def test_only_what_changed_is_computed_again(database: Database) -> None:
    for entry in (FULL, record(1, cell=OTHER)):
        database.add(entry)
    refresh(database, FLAKY_SECONDS)
    database.add(record(2))
    (first, second) = stored(database)
    assert (first, second) != (None, None)
    assert None in (first, second)


@pytest.mark.parametrize(
    "values",
    [
        {"summary": "no JSON"},
        {"summary": "[" * 100_000},
        {"summary": "[]"},
        {"summary": "{}"},
        {"summary": '["lib", "cell", 0.0, [], [], null, null, [], [], []]'},
        {"summary": f'["lib", "{CELL}", 0.0, [], [], "1", null, [], [], []]'},
        {"format": 0},
        {"format": None},
    ],
    ids=lambda values: str(values)[:60],
)
def test_an_invalid_summary_is_computed_instead(
    database: Database, values: dict[str, object]
) -> None:
    database.add(FULL)
    refresh(database, FLAKY_SECONDS)
    execute(sa.update(tables.places).values(**values))(database)
    (entry,) = reported(database).entries
    assert [failure.name for failure in entry.failures] == ["a"]


@pytest.mark.parametrize(
    "values",
    [
        {"summary": sa.func.replace(tables.places.c.summary, '"a"', '"b"')},
        {"version": tables.places.c.version + 1},
    ],
    ids=["edited", "other-version"],
)
def test_a_summary_that_was_edited_is_computed_instead(
    database: Database, values: dict[str, sa.ColumnElement[object]]
) -> None:
    database.add(FULL)
    refresh(database, FLAKY_SECONDS)
    (before,) = stored(database)
    execute(sa.update(tables.places).values(**values))(database)
    assert ("version" in values) == (stored(database) == [before])
    assert [failure.name for failure in reported(database).failures] == ["a"]


def test_the_summary_of_another_place_is_computed_instead(database: Database) -> None:
    for entry in (FULL, record(1, {"a": "passed"}, cell=OTHER)):
        database.add(entry)
    refresh(database, FLAKY_SECONDS)
    good = sa.select(tables.places.c.summary).where(tables.places.c.cell == OTHER)
    execute(sa.update(tables.places).values(summary=good.scalar_subquery()))(database)
    (failure,) = reported(database).failures
    assert (failure.cell, failure.name) == (CELL, "a")


def test_a_summary_of_before_a_change_is_computed_instead(database: Database) -> None:
    database.add(record(1, {"a": "passed"}))
    refresh(database, FLAKY_SECONDS)
    (before,) = stored(database)
    database.add(record(2, {"a": "failed"}))
    execute(sa.update(tables.places).values(summary=before))(database)
    assert [failure.name for failure in reported(database).failures] == ["a"]


@pytest.mark.parametrize("name", ["a", "c"])
@pytest.mark.parametrize("state", ["passed", "skipped", "errored"])
def test_a_run_whose_tests_are_not_those_that_it_counted_is_left_out(
    database: Database, name: str, state: str
) -> None:
    for entry in (FULL, record(1, cell=OTHER)):
        database.add(entry)
    refresh(database, FLAKY_SECONDS)
    outcomes = tables.outcomes
    execute(sa.update(outcomes).where(outcomes.c.name == name).values(state=state))(database)
    for _ in ("computed", "not stored"):
        report = reported(database)
        assert [entry.cell for entry in report.entries] == [OTHER]
        assert report.unreadable == (("lib", CELL),)
        assert report.left_out == {"runs": 1}
        assert not report.is_good
        refresh(database, FLAKY_SECONDS)


def test_a_partial_run_with_other_tests_than_it_counted_makes_no_failure_pass(
    database: Database,
) -> None:
    database.add(record(1, {"a": "failed", "b": "failed"}))
    database.add(record(2, {"a": "failed"}, extent="since"))
    newest = tables.outcomes.c.run.in_(sa.select(tables.runs.c.id).where(tables.runs.c.started > 1))
    execute(sa.update(tables.outcomes).where(newest).values(state="passed"))(database)
    report = reported(database)
    assert [failure.name for failure in report.failures] == ["a", "b"]
    assert report.left_out == {"runs": 1}


def test_places_whose_rows_another_program_deleted_are_computed(database: Database) -> None:
    for entry in (FULL, record(1, cell=OTHER)):
        database.add(entry)
    refresh(database, FLAKY_SECONDS)
    before = reported(database)
    for deleted in (tables.places.c.cell == OTHER, sa.true()):
        execute(sa.delete(tables.places).where(deleted))(database)
        assert reported(database) == before
    with database.reading() as connection:
        selected = compose(connection, replace(scope(), cells={OTHER}))
    assert [entry.cell for entry in selected.entries] == [OTHER]
    refresh(database, FLAKY_SECONDS)
    database.add(record(2))
    assert [entry.cell for entry in reported(database).entries] == [OTHER, CELL]


def test_runs_of_before_a_summary_was_stored_make_no_test_flaky_by_it(database: Database) -> None:
    database.add(record(1, {"a": "flaky"}))
    database.add(record(5, {"b": "flaky"}))
    refresh(database, FLAKY_SECONDS + 3)
    names = [[flake.name for flake in reported(database, since).flaky] for since in (0, 1, 2, 3, 6)]
    assert names == [["a", "b"], ["a", "b"], ["b"], ["b"], []]


def test_a_report_lists_only_selected_places(database: Database) -> None:
    for entry in (FULL, record(1, cell=OTHER), record(1, library="other")):
        database.add(entry)
    for _ in ("computed", "stored"):
        with database.reading() as connection:
            report = compose(connection, replace(scope(), libraries={"lib"}, cells={OTHER}))
        assert [(entry.library, entry.cell) for entry in report.entries] == [("lib", OTHER)]
        refresh(database, FLAKY_SECONDS)


def write_journal(location: Location, entry: Record) -> None:
    location.prepare()
    with open_journal(location.journals, entry.run) as journal:
        journal.write(*entry.outcomes, entry.end)


def test_whoever_stores_runs_stores_the_summaries(
    database: Database, url: str | Path, tmp_path: Path
) -> None:
    database.add(record(1, cell=OTHER))
    location = Location(tmp_path / "checkout", url)
    with location.open_store(pytest.fail):
        assert stored(database) == [None]  # no run was stored
    write_journal(location, FULL)
    with location.open_store(pytest.fail):
        assert len(stored(database)) == 2
        assert None not in stored(database)
