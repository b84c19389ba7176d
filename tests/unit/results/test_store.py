"""What every store does: tests/integration/test_postgresql.py runs these on PostgreSQL as well."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from tests.unit.results.examples import CELL, comparison, record

from envmatrix.errors import ConfigurationError, LookupFailed
from envmatrix.results import migrations, queries, tables
from envmatrix.results.database import SCHEMA, Database, connect
from envmatrix.results.queries import FlakyRevision
from envmatrix.results.records import Record
from envmatrix.sessions.outcomes import Comparison, Measurement, State, Step, TestOutcome
from envmatrix.sessions.products import Product

ROOT = Path(__file__).parents[3]
MIGRATIONS = Path(migrations.__file__).parent
OTHER = "cuda12.4-debian12-x86_64"

FULL = record(
    9,
    {"a": "failed", "b": "passed"},
    cause="product",
    steps=[Step("compile", 0, 1.5, "said")],
    measurements=[Measurement("axpy", 1.5, "GB/s", "higher")],
    products=[Product("libx.so", "x86_64", 12)],
    comparisons=[comparison()],
)


def add(database: Database, *records: Record) -> None:
    for entry in records:
        database.add(entry)


def test_seconds_of_steps_are_those_of_the_newest_whole_runs_that_passed(
    database: Database,
) -> None:
    states: tuple[State, ...] = ("passed", "failed", "passed", "passed")
    for number, state in enumerate(states, 1):
        steps = [Step("compile", 0, float(number), ""), Step("test", 0, 0.5, "")]
        add(database, record(number, state=state, steps=steps))
    steps = [Step("compile", 0, 9.0, "")]
    add(database, record(8, extent="since", steps=steps), record(9, shard="1/2", steps=steps))
    with database.reading() as connection:
        times = queries.step_times(connection, 2)
        assert len(queries.step_times(connection, 9)) == 6
    assert [(row.step, row.seconds) for row in times] == [
        *(("compile", 4.0), ("test", 0.5), ("compile", 3.0), ("test", 0.5)),
    ]
    assert {(row.library, row.cell, row.verb, row.part) for row in times} == {
        ("lib", CELL, "test", "")
    }


def test_verdicts_are_of_the_last_two_whole_runs_that_passed_or_failed(database: Database) -> None:
    states: tuple[State, ...] = ("failed", "passed", "killed", "errored", "skipped")
    add(database, *(record(number, state=state) for number, state in enumerate(states, 1)))
    add(database, record(8, extent="since"), record(9, extent="arguments"))
    add(database, record(6, shard="1/2"), record(7, verb="compile", cell=OTHER))
    with database.reading() as connection:
        verdicts = queries.last_verdicts(connection)
    assert [(stored.run.started, stored.end.state) for stored in verdicts] == [
        (7.0, "passed"),
        (6.0, "passed"),
        (4.0, "errored"),
        (2.0, "passed"),
    ]


def test_the_newest_migration_leaves_the_tables_that_the_code_knows(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []


def at_version(url: str | Path, version: str, original: Path) -> None:
    """Make a store of an older version with the rows of another one, without what came later."""
    with engine_of(url).begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        older = sa.MetaData()
        older.reflect(connection)
        with engine_of(original).connect() as source:
            for table in (tables.runs, *tables.PARTS.values()):
                if table.name not in older.tables:
                    continue
                rows = source.execute(sa.select(table)).mappings().all()
                columns = older.tables[table.name].columns.keys()
                values = [{name: row[name] for name in columns} for row in rows]
                if values:
                    connection.execute(older.tables[table.name].insert(), values)


def engine_of(url: str | Path) -> sa.Engine:
    address = f"sqlite:///{url}" if isinstance(url, Path) else url
    address = address.replace("postgresql:", "postgresql+psycopg:", 1)
    return sa.create_engine(address, poolclass=sa.NullPool)


@pytest.mark.parametrize("version", ["0004", "0005", "0006", "0007", "0008"])
def test_a_store_of_an_older_version_keeps_its_rows(
    url: str | Path, version: str, tmp_path: Path
) -> None:
    original = tmp_path / "original.sqlite"
    with connect(original) as database:
        database.add(FULL)
    at_version(url, version, original)
    with connect(url) as database:
        added = record(10, products=[Product("a.whl", None, 1, "0" * 64, "cp311")])
        database.add(added)
        with database.reading() as connection:
            ids = [FULL.run.id, added.run.id]
            stored = queries.run(connection, FULL.run.id)
            products = queries.stored_parts(connection, Product, ids)
            compared = queries.stored_parts(connection, Comparison, ids)
            assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []
    assert stored
    assert (stored.run, stored.end) == (FULL.run, FULL.end)
    assert compared == ({FULL.run.id: FULL.comparisons} if version > "0007" else {})
    assert products == {FULL.run.id: FULL.products, added.run.id: added.products}


# Eight processes find no store, and each adds a run. They are forks of a process of their own:
# pytest's may have threads, whose locks a fork would copy.
BEGIN = """
import multiprocessing, sys
from pathlib import Path
from tests.unit.results.examples import record
from envmatrix.results.database import connect

def begin(arguments):
    url, number = arguments
    with connect(url if "://" in url else Path(url)) as database:
        database.add(record(number, library=f"lib{number}"))

with multiprocessing.get_context("fork").Pool(8) as pool:
    for url in sys.argv[1:]:
        pool.map(begin, [(url, number) for number in range(8)], chunksize=1)
"""


def begin_at_once(*urls: str | Path) -> None:
    """Make each store by eight processes that begin at once."""
    command = [sys.executable, "-c", BEGIN, *map(str, urls)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_store_is_made_once_however_many_processes_begin_at_once(url: str | Path) -> None:
    begin_at_once(url)
    with connect(url) as database, database.reading() as connection:
        assert len(queries.latest(connection)) == 8


def set_schema(database: Database, schema: str) -> None:
    with database.engine.begin() as connection:
        version = sa.table("alembic_version", sa.column("version_num"))
        connection.execute(sa.update(version).values(version_num=schema))


def test_a_store_of_a_newer_envmatrix_is_refused(database: Database, url: str | Path) -> None:
    set_schema(database, "9999")
    with (
        pytest.raises(LookupFailed, match=f"has schema `9999`, and .* up to {SCHEMA}") as caught,
        connect(url),
    ):
        pass
    assert "or a newer one" in str(caught.value.hint)


@pytest.mark.parametrize("schema", ["0000", "", "0003-mine", "\x1b[1m"])
def test_a_store_of_an_unknown_schema_is_damaged(
    database: Database, url: str | Path, schema: str
) -> None:
    set_schema(database, schema)
    with pytest.raises(LookupFailed, match="which none has") as caught, connect(url):
        pass
    hint = "move the file away" if isinstance(url, Path) else "use another database"
    assert hint in str(caught.value.hint)


def test_a_store_without_a_schema_version_is_damaged(database: Database, url: str | Path) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.delete(sa.table("alembic_version")))
    with (
        pytest.raises(LookupFailed, match="has no schema version: it is damaged") as caught,
        connect(url),
    ):
        pass
    hint = "move the file away" if isinstance(url, Path) else "use another database"
    assert hint in str(caught.value.hint)


def test_a_packed_text_of_any_size_takes_little_memory(database: Database) -> None:
    bomb = zlib.compress(b"a" * (100 << 20))
    database.add(FULL)
    ids = [FULL.run.id]
    with database.engine.begin() as connection:
        connection.execute(sa.update(tables.steps).values(log=bomb))
        connection.execute(sa.update(tables.outcomes).values(output=bomb))
    tracemalloc.start()
    with database.reading() as connection:
        (steps,) = queries.stored_parts(connection, Step, ids, with_output=True).values()
        queries.stored_parts(connection, TestOutcome, ids, with_output=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(steps[0].log) == 1 << 20
    assert peak < 30 << 20


def test_all_of_a_run_comes_back(database: Database) -> None:
    entry = record(
        1,
        {"a": "passed", "b": "failed"},
        cause="product",
        message="1 of 2 tests failed",
        steps=[Step("compile", 0, 1.5, "warning: \u00fc\n"), Step("test", 8, 0.5, "")],
        measurements=[Measurement("axpy", 1.5, "GB/s", "higher")],
        products=[Product("libx.so", "x86_64", 12, "0" * 64), Product("notes", None, 5 << 40)],
    )
    database.add(entry)
    with database.reading() as connection:
        run_id, ids = entry.run.id, [entry.run.id]
        stored = queries.run(connection, run_id)
        assert stored is not None
        assert (stored.run, stored.end, stored.counts) == (entry.run, entry.end, entry.counts)
        assert queries.stored_parts(connection, TestOutcome, ids) == {run_id: entry.outcomes}
        steps = queries.stored_parts(connection, Step, ids, with_output=True)
        assert steps == {run_id: entry.steps}
        assert queries.stored_parts(connection, Measurement, ids) == {run_id: entry.measurements}
        assert queries.stored_parts(connection, Product, ids) == {run_id: entry.products}


def test_what_is_printed_may_hold_anything(database: Database) -> None:
    message = "a\0b \ud800 \u2028"
    entry = record(1, message=message, steps=[Step("test\0", 1, 1.0, message)])
    database.add(entry)
    with database.reading() as connection:
        (stored,) = queries.latest(connection)
        assert stored.end.message == "ab ? \u2028"


def test_what_is_too_long_for_a_column_is_cut(database: Database) -> None:
    entry = record(1, {"n" * 5000: "failed"}, message="m" * 10_000)
    database.add(entry)
    with database.reading() as connection:
        (stored,) = queries.latest(connection)
        assert len(stored.end.message) == 4000
        ((outcome,),) = queries.stored_parts(connection, TestOutcome, [entry.run.id]).values()
        assert outcome.name == "n" * 600


def test_what_a_test_printed_comes_where_it_is_asked_for(database: Database) -> None:
    entry = replace(
        record(1), outcomes=(TestOutcome("a", "failed", 1.0, "no", output="long\n" * 9),)
    )
    database.add(entry)
    with database.reading() as connection:
        ids = [entry.run.id]
        tests = queries.stored_parts(connection, TestOutcome, ids, with_output=True)
        ((outcome,),) = tests.values()
        assert outcome == entry.outcomes[0]


def test_a_run_that_is_stored_twice_is_there_once(database: Database) -> None:
    add(database, record(1, {"a": "passed"}), record(1, {"a": "failed"}))
    with database.reading() as connection:
        (stored,) = queries.latest(connection)
        assert stored.counts == {"passed": 1}


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
        rows = [(row.run.cell, row.run.verb, row.run.shard, row.run.started)
                 for row in queries.latest(connection)]  # fmt: skip
        assert sorted(rows) == [
            (OTHER, "test", "", 1.0),
            (CELL, "compile", "", 1.0),
            (CELL, "test", "", 3.0),
            (CELL, "test", "1/2", 4.0),
        ]
        before = queries.latest(connection, before=3.0)
        assert {row.run.started for row in before} == {1.0, 2.0}


def test_history_is_the_newest_first(database: Database) -> None:
    add(database, *(record(number) for number in (2, 4, 1, 3)))
    with database.reading() as connection:
        rows = queries.history(connection, "lib", CELL, "test", 3)
        assert [row.run.started for row in rows] == [4.0, 3.0, 2.0]


def test_each_part_of_a_verb_has_its_newest_run_and_its_history(database: Database) -> None:
    database.add(
        record(1, part="on-h100"),
        record(2, part="on-h100"),
        record(3, part="on-t4"),
        record(4, verb="step", part="a-step-of-a-longer-name on-sm80-up-2gpus"),
    )
    with database.reading() as connection:
        rows = {(row.run.work, row.run.started) for row in queries.latest(connection)}
        history = queries.history(connection, "lib", CELL, "test", 9, "on-h100")
        times = queries.times(connection, [("lib", CELL)], 9)
        verdicts = queries.last_verdicts(connection)
    assert rows == {
        ("test on-h100", 2.0),
        ("test on-t4", 3.0),
        ("step a-step-of-a-longer-name on-sm80-up-2gpus", 4.0),
    }
    assert [row.run.started for row in history] == [2.0, 1.0]
    assert {work: len(ends) for work, ends in times["lib", CELL].items()} == {
        "test on-h100": 2,
        "test on-t4": 1,
        "step a-step-of-a-longer-name on-sm80-up-2gpus": 1,
    }
    assert len(verdicts) == 4


def test_the_history_of_a_verb_is_filled_with_runs_that_can_be_compared(
    database: Database,
) -> None:
    add(
        database,
        record(1),
        record(2),
        *(record(number, extent="arguments") for number in (3, 4, 5)),
    )
    with database.reading() as connection:
        rows = queries.history(connection, "lib", CELL, "test", 2)
        assert [row.run.started for row in rows] == [2.0, 1.0]
        all_rows = queries.history(connection, "lib", CELL, None, 2)
        assert [row.run.started for row in all_rows] == [5.0, 4.0]


def test_a_test_is_seen_in_the_runs_that_had_it(database: Database) -> None:
    add(database, record(1, {"a": "passed"}), record(2), record(3, {"a": "failed"}))
    with database.reading() as connection:
        history = queries.history(connection, "lib", CELL, "test", 9)
        sightings = queries.sightings(connection, history, ["a", "b"])
        states = sorted((sighting.revision.id, sighting.state) for sighting in sightings["a"])
        assert states == [("r1", "passed"), ("r3", "failed")]
        assert set(sightings) == {"a"}


def test_a_test_is_flaky_that_needs_a_retry_or_contradicts_itself(database: Database) -> None:
    add(
        database,
        record(1, {"retried": "flaky", "bad": "failed", "both": "failed"}, revision="r"),
        record(2, {"retried": "passed", "bad": "failed", "both": "passed"}, revision="r"),
        record(3, {"mended": "failed"}, revision="s"),
        record(4, {"mended": "passed"}, revision="t"),
        record(5, {"edited": "failed"}, revision="t-changed"),
        record(6, {"edited": "passed"}, revision="t-changed"),
    )
    place = ("lib", CELL)
    with database.reading() as connection:
        assert queries.flaky_revisions(connection, [place], 0) == {
            place: (
                FlakyRevision("both", 1.0, "contradicted"),
                FlakyRevision("retried", 1.0, "retried"),
            )
        }
        assert queries.flaky_revisions(connection, [place], 3) == {}
        assert queries.flaky_revisions(connection, [("lib", OTHER)], 0) == {}


def test_tests_take_as_long_as_when_they_were_last_seen(database: Database) -> None:
    again = (TestOutcome("a", "passed", 9.0), TestOutcome("s", "skipped", 0.0))
    newer = replace(record(2), outcomes=again)
    add(database, record(1, {"a": "passed", "b": "passed"}), newer, record(3))
    with database.reading() as connection:
        assert queries.durations(connection, "lib", CELL, 9.0) == {"a": 9.0, "b": 0.5}
        assert queries.durations(connection, "lib", OTHER, 9.0) == {"a": 9.0, "b": 0.5}
        assert queries.durations(connection, "lib", CELL, 2.0) == {"a": 0.5, "b": 0.5}
        assert queries.durations(connection, "unknown", CELL, 9.0) == {}


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "no url at all", "http://[::1"])
def test_an_address_that_is_none_of_a_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused, connect(url):
        pass
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "away",
    [
        "postgresql://user:secret@127.0.0.1:1/results?connect_timeout=1",
        "postgresql://user@127.0.0.1:1/results?connect_timeout=1&password=secret",
    ],
)
def test_a_store_that_is_away_is_named_without_its_password(away: str) -> None:
    with pytest.raises(LookupFailed, match=r"127\.0\.0\.1:1/results") as failed, connect(away):
        pass
    assert "secret" not in f"{failed.value} {failed.value.details}"


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    file = tmp_path / "results.sqlite"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(LookupFailed, match=r"results.sqlite.*not a database"), connect(file):
        pass
