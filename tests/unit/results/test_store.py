"""What every store does: tests/integration/test_postgresql.py runs these on PostgreSQL as well."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.unit.results.examples import CELL, record

from envmatrix.errors import ConfigurationError, LookupFailed
from envmatrix.results import queries, tables
from envmatrix.results.database import SCHEMA, Database, connect
from envmatrix.results.queries import Flake
from envmatrix.results.records import Product, Record
from envmatrix.sessions.outcomes import Measurement, Step, TestOutcome

OTHER = "cuda12.4-debian12-x86_64"


def add(database: Database, *records: Record) -> None:
    for its in records:
        database.add(its)


def test_the_newest_migration_leaves_the_tables_that_the_code_knows(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []


def test_a_store_is_made_once_however_many_begin_at_once(url: str | Path) -> None:
    def once(number: int) -> None:
        with connect(url) as database:
            database.add(record(number, library=f"lib{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(once, range(8)))
    with connect(url) as database, database.reading() as connection:
        assert len(queries.latest(connection)) == 8


def test_a_store_of_a_newer_envmatrix_is_refused(database: Database, url: str | Path) -> None:
    with database._engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with (
        pytest.raises(LookupFailed, match=f"has schema 9999, and .* up to {SCHEMA}"),
        connect(url),
    ):
        pass


def test_all_of_a_run_comes_back(database: Database) -> None:
    its = record(
        1,
        {"a": "passed", "b": "failed"},
        cause="product",
        message="1 of 2 tests failed",
        steps=[Step("compile", 0, 1.5, "warning: \u00fc\n"), Step("test", 8, 0.5, "")],
        measurements=[Measurement("axpy", 1.5, "GB/s", "higher")],
        products=[Product("libx.so", "x86_64", 12, "0" * 64), Product("notes", None, 5 << 40)],
    )
    database.add(its)
    with database.reading() as connection:
        kept = queries.run(connection, its.run.id)
        assert kept is not None
        assert (kept.run, kept.end, kept.counts) == (its.run, its.end, its.counts)
        assert queries.outcomes_of(connection, [its.run.id]) == {its.run.id: its.outcomes}
        assert queries.steps_of(connection, its.run.id) == its.steps
        assert queries.measurements_of(connection, [its.run.id]) == {its.run.id: its.measurements}
        assert queries.products_of(connection, [its.run.id]) == {its.run.id: its.products}


def test_what_is_printed_may_hold_anything(database: Database) -> None:
    message = "a\0b \ud800 \u2028"
    its = record(1, message=message, steps=[Step("test\0", 1, 1.0, message)])
    database.add(its)
    with database.reading() as connection:
        (kept,) = queries.latest(connection)
        assert kept.end.message == "ab ? \u2028"


def test_what_is_too_long_for_a_column_is_cut(database: Database) -> None:
    its = record(1, {"n" * 5000: "failed"}, message="m" * 10_000)
    database.add(its)
    with database.reading() as connection:
        (kept,) = queries.latest(connection)
        assert len(kept.end.message) == 4000
        ((found,),) = queries.outcomes_of(connection, [its.run.id]).values()
        assert found.name == "n" * 600


def test_what_a_test_printed_comes_where_it_is_asked_for(database: Database) -> None:
    its = replace(record(1), outcomes=(TestOutcome("a", "failed", 1.0, "no", output="long\n" * 9),))
    database.add(its)
    with database.reading() as connection:
        ((found,),) = queries.outcomes_of(connection, [its.run.id], with_output=True).values()
        assert found == its.outcomes[0]


def test_a_run_that_is_stored_twice_is_there_once(database: Database) -> None:
    add(database, record(1, {"a": "passed"}), record(1, {"a": "failed"}))
    with database.reading() as connection:
        (kept,) = queries.latest(connection)
        assert kept.counts == {"passed": 1}


def test_the_newest_run_counts_of_each_library_cell_verb_and_shard(database: Database) -> None:
    add(
        database,
        record(1),
        record(3),
        record(2),
        record(1, verb="compile"),
        record(1, cell=OTHER),
        record(4, shard="1/2"),
    )
    with database.reading() as connection:
        found = [(its.run.cell, its.run.verb, its.run.shard, its.run.started)
                 for its in queries.latest(connection)]  # fmt: skip
        assert sorted(found) == [
            (OTHER, "test", "", 1.0),
            (CELL, "compile", "", 1.0),
            (CELL, "test", "", 3.0),
            (CELL, "test", "1/2", 4.0),
        ]
        before = queries.latest(connection, before=3.0)
        assert {its.run.started for its in before} == {1.0, 2.0}


def test_history_is_the_newest_first(database: Database) -> None:
    add(database, *(record(number) for number in (2, 4, 1, 3)))
    with database.reading() as connection:
        found = queries.history(connection, "lib", CELL, "test", 3)
        assert [its.run.started for its in found] == [4.0, 3.0, 2.0]


def test_a_test_is_seen_in_the_runs_that_had_it(database: Database) -> None:
    add(database, record(1, {"a": "passed"}), record(2), record(3, {"a": "failed"}))
    with database.reading() as connection:
        history = queries.history(connection, "lib", CELL, "test", 9)
        found = queries.sightings(connection, history, ["a", "b"])
        states = sorted((its.revision.id, its.state) for its in found["a"])
        assert states == [("r1", "passed"), ("r3", "failed")]
        assert set(found) == {"a"}


def test_a_test_is_flaky_that_needs_a_retry_or_contradicts_itself(database: Database) -> None:
    add(
        database,
        record(1, {"retried": "flaky", "bad": "failed", "both": "failed"}, revision="r"),
        record(2, {"retried": "passed", "bad": "failed", "both": "passed"}, revision="r"),
        record(3, {"mended": "failed"}, revision="s"),
        record(4, {"mended": "passed"}, revision="t"),
    )
    with database.reading() as connection:
        assert set(queries.flaky(connection, 0)) == {
            Flake("lib", CELL, "retried", 1, 0),
            Flake("lib", CELL, "both", 0, 1),
        }
        assert queries.flaky(connection, 3) == ()


def test_tests_take_as_long_as_when_they_were_last_seen(database: Database) -> None:
    again = (TestOutcome("a", "passed", 9.0), TestOutcome("s", "skipped", 0.0))
    newer = replace(record(2), outcomes=again)
    add(database, record(1, {"a": "passed", "b": "passed"}), newer, record(3))
    with database.reading() as connection:
        assert queries.durations(connection, "lib", CELL, 9.0) == {"a": 9.0, "b": 0.5}
        assert queries.durations(connection, "lib", OTHER, 9.0) == {"a": 9.0, "b": 0.5}
        assert queries.durations(connection, "lib", CELL, 2.0) == {"a": 0.5, "b": 0.5}
        assert queries.durations(connection, "unknown", CELL, 9.0) == {}


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "no url at all"])
def test_an_address_that_is_none_of_a_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused, connect(url):
        pass
    assert "secret" not in str(refused.value)


def test_a_store_that_is_away_is_named_without_its_password() -> None:
    away = "postgresql://user:secret@127.0.0.1:1/results?connect_timeout=1"
    with pytest.raises(LookupFailed, match=r"127\.0\.0\.1:1/results") as failed, connect(away):
        pass
    assert "secret" not in f"{failed.value} {failed.value.details}"


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    file = tmp_path / "results.sqlite"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(LookupFailed, match=r"results.sqlite.*not a database"), connect(file):
        pass
