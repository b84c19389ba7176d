"""What only a store in a file can have: how it is made, and values that its columns let pass."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.unit.results.examples import CELL, record
from tests.unit.results.test_store import FULL, add

from envmatrix.errors import LookupFailed
from envmatrix.results import tables
from envmatrix.results.database import SCHEMA, Database, connect
from envmatrix.results.formats import document, junit, markdown, text
from envmatrix.results.page_paths import cell_page
from envmatrix.results.places import refresh
from envmatrix.results.report import Scope, compose
from envmatrix.results.site import Site
from envmatrix.sessions.analysis.findings import Finding


def test_a_new_store_is_never_seen_before_it_is_whole(tmp_path: Path) -> None:
    """Two processes that changed the journal mode of one file got "database is locked"."""
    file = tmp_path / "results.sqlite"
    states: set[object] = set()

    def watch(done: threading.Event) -> None:
        while not done.is_set():
            try:
                with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
                    mode = connection.execute("PRAGMA journal_mode").fetchone()
                    version = connection.execute("SELECT version_num FROM alembic_version")
                    states.add((mode, version.fetchone()))
            except sqlite3.OperationalError as error:
                states.add(str(error))

    with ThreadPoolExecutor() as pool:
        done = threading.Event()
        watching = pool.submit(watch, done)
        try:
            with connect(file):
                pass
            time.sleep(0.05)
        finally:
            done.set()
        watching.result()
    assert states == {"unable to open database file", (("wal",), (SCHEMA,))}


def test_a_store_that_was_cut_off_while_it_was_made_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite.new").write_bytes(b"no database at all" * 100)
    with connect(tmp_path / "results.sqlite") as database:
        database.add(record(1))


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
def test_a_damaged_file_is_to_be_moved_away(tmp_path: Path, size: int) -> None:
    file = tmp_path / "results.sqlite"
    with connect(file):
        pass
    file.write_bytes(file.read_bytes()[:size] or b"no database at all" * 100)
    with pytest.raises(LookupFailed, match="failed: ") as caught, connect(file) as database:
        database.add(record(1))
    assert "move the file away" in str(caught.value.hint)
    file.rename(tmp_path / "damaged")
    with connect(file) as database:
        database.add(record(1))


@pytest.mark.parametrize(
    "change",
    [
        *(f"DROP TABLE {table}" for table in ("runs", "outcomes", "places", "alembic_version")),
        "ALTER TABLE runs DROP COLUMN message",
        "UPDATE alembic_version SET version_num = '0004'",  # its tables are there already
    ],
)
def test_a_store_without_the_tables_of_its_schema_is_to_be_moved_away(
    tmp_path: Path, change: str
) -> None:
    file = tmp_path / "results.sqlite"
    with connect(file):
        pass
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(LookupFailed) as caught:
        use(file)
    assert "move the file away" in str(caught.value.hint)


def use(file: Path) -> None:
    """Store a run, and report it."""
    with connect(file) as database:
        database.add(record(1, {"a": "passed"}))
        with database.reading() as connection:
            compose(connection, Scope(date(2026, 1, 1), 1e9))


def test_a_directory_or_a_pipe_is_to_be_moved_away(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (tmp_path, pipe):
        with pytest.raises(LookupFailed, match="is not a file") as caught, connect(place):
            pass
        assert "move it away" in str(caught.value.hint)


def test_a_link_to_a_missing_file_stays(tmp_path: Path) -> None:
    link, target = tmp_path / "results.sqlite", tmp_path / "disk/results.sqlite"
    link.symlink_to(target)
    with pytest.raises(LookupFailed, match="is missing") as caught, connect(link):
        pass
    assert "stay in their journals" in str(caught.value.hint)
    assert link.readlink() == target


TEXT = "'text'"
# What SQLite takes for a column, whatever its type, and none of our runs has.
BAD_ROWS = [
    ("runs", "library", "7.5"),
    ("runs", "library", "x'ff'"),
    ("runs", "cell", "x'ff'"),
    ("runs", "verb", "x'ff'"),
    ("runs", "state", "'fine'"),
    ("runs", "cause", "'fate'"),
    ("runs", "started", "9e999"),
    ("runs", "started", "1e15"),
    ("runs", "started", "-1"),
    ("runs", "started", TEXT),
    ("runs", "seconds", TEXT),
    ("runs", "seconds", "9e999"),
    ("runs", "committed", "1e300"),
    ("runs", "message", "x'ff'"),
    ("runs", "failed", TEXT),
    ("runs", "failed", "-5"),
    ("steps", "log", "x'ff'"),
    ("steps", "log", TEXT),
    ("steps", "log", "12"),
    ("steps", "status", TEXT),
    ("steps", "seconds", "9e999"),
    ("outcomes", "name", "x'ff'"),
    ("outcomes", "state", "'fine'"),
    ("outcomes", "seconds", TEXT),
    ("outcomes", "attempts", TEXT),
    ("outcomes", "output", TEXT),
    ("measurements", "value", TEXT),
    ("measurements", "value", "9e999"),
    ("measurements", "name", "x'ff'"),
    ("products", "size", "-1"),
    ("products", "size", TEXT),
    ("products", "path", "x'ff'"),
    ("findings", "level", "'fine'"),
    ("findings", "line", TEXT),
    ("findings", "is_new", TEXT),
]


@pytest.mark.parametrize(("table", "column", "value"), BAD_ROWS)
def test_a_row_that_is_invalid_is_left_out_and_all_others_are_reported(
    tmp_path: Path, table: str, column: str, value: str
) -> None:
    full = replace(FULL, findings=(Finding("tool", "rule", "message"),))
    with connect(tmp_path / "results.sqlite") as database:
        add(database, full, record(1, {"a": "failed"}, library="other"))
        with database.engine.begin() as connection:
            target = tables.METADATA.tables[table]
            change = sa.update(target).values({column: sa.literal_column(value)})
            key = target.c.id if table == "runs" else target.c.run
            connection.execute(change.where(key == full.run.id))
        with database.reading() as connection:
            scope = Scope(date(2026, 1, 1), 1e9)
            report = compose(connection, scope)
            site = Site(connection, scope)
            pages = {path: site.page(path) for path in site.paths()}

    assert [failure.name for failure in report.failures if failure.library == "other"] == ["a"]
    assert pages["index.html"]
    assert pages[cell_page("other", CELL)]
    assert len(text(report)) + len(junit(report)) + len(markdown(report)) > 0
    assert json.loads(json.dumps(document(report), allow_nan=False))
    if (table, column) in [("runs", "state"), ("measurements", "value")]:
        assert report.left_out[table] > 0
        assert f"1 row of {table}" in text(report)
        assert f"1 row of {table}" in pages["index.html"]


@pytest.mark.parametrize(
    ("table", "column", "count"),
    [("runs", "seconds", 2), ("runs", "message", 1), ("outcomes", "state", 2)],
)
def test_an_invalid_row_that_several_queries_read_counts_once(
    tmp_path: Path, table: str, column: str, count: int
) -> None:
    """The newest run, those of a time, and the failures before a revision are read apart."""
    scope = Scope(date(2026, 1, 1), 1e3, since=1e9)
    with connect(tmp_path / "results.sqlite") as database:
        add(database, record(1, {"a": "failed"}), record(2, {"a": "failed"}))
        with database.writing() as connection:
            target = tables.METADATA.tables[table]
            connection.execute(sa.update(target).values({column: sa.literal_column("x'ff'")}))
        with database.reading() as connection:
            report = compose(connection, scope)
    assert report.left_out == {table: count}


def invalidate(database: Database, *conditions: sa.ColumnElement[bool]) -> None:
    """Make runs invalid."""
    with database.engine.begin() as connection:
        change = sa.update(tables.runs).values(message=sa.literal_column("x'ff'"))
        connection.execute(change.where(*conditions))


def test_places_without_a_valid_result_are_told(tmp_path: Path) -> None:
    with connect(tmp_path / "results.sqlite") as database:
        add(database, record(1), record(1, library="other"))
        add(database, record(1, library="arguments", extent="arguments"))
        invalidate(database, tables.runs.c.library == "lib")
        with database.reading() as connection:
            report = compose(connection, Scope(date(2026, 1, 1), 1e9))
    assert report.unreadable == (("lib", CELL),)
    assert not report.is_good
    assert document(report)["unreadable"] == [{"library": "lib", "cell": CELL}]


def test_an_invalid_row_beside_valid_results_of_its_place_fails_no_check(tmp_path: Path) -> None:
    with connect(tmp_path / "results.sqlite") as database:
        add(database, record(1), record(1, verb="perf"))
        invalidate(database, tables.runs.c.verb == "perf")
        with database.reading() as connection:
            report = compose(connection, Scope(date(2026, 1, 1), 1e9))
    assert report.left_out == {"runs": 1}
    assert report.unreadable == ()
    assert report.is_good


def test_a_place_with_an_invalid_row_is_computed_each_time(tmp_path: Path) -> None:
    with connect(tmp_path / "results.sqlite") as database:
        add(database, FULL, record(1, library="other"))
        invalidate(database, tables.runs.c.id == FULL.run.id)
        for _ in ("computed", "stored"):
            with database.reading() as connection:
                report = compose(connection, Scope(date(2026, 1, 1), 1e9))
                assert report.left_out["runs"] > 0
            refresh(database, 1e9)
        with database.reading() as connection:
            summaries = dict(
                connection.execute(
                    sa.select(tables.places.c.library, tables.places.c.summary)
                ).all()
            )
    assert [name for name, text in summaries.items() if text is None] == ["lib"]
