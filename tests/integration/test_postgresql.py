"""The results store on a real PostgreSQL: the suite of SQLite, and what only a server has."""

from __future__ import annotations

import multiprocessing
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests import databases
from tests.databases import RealPostgresql
from tests.integration.conftest import CELL as BUILT
from tests.integration.conftest import Checkout
from tests.integration.test_jobs import wait_for
from tests.unit.results.conftest import database as database
from tests.unit.results.examples import record
from tests.unit.results.test_places import *  # noqa: F403 -- likewise
from tests.unit.results.test_places import computed, execute, reported, stored
from tests.unit.results.test_store import *  # noqa: F403 -- its tests, run with the `url` below

from envmatrix.machine.origins import Origins
from envmatrix.results import queries
from envmatrix.results.database import connect
from envmatrix.results.journal import count_journals
from envmatrix.results.places import FLAKY_SECONDS, refresh

WRITERS, RUNS = 50, 10


@pytest.fixture(scope="module")
def postgresql(base: str) -> Iterator[RealPostgresql]:
    image = databases.image(base, Origins().archive("debian")[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with databases.serve(image, port) as server:
        yield server


@pytest.fixture
def url(postgresql: RealPostgresql) -> str | Path:
    return postgresql.database(f"results-{uuid.uuid4().hex}")


def write(arguments: tuple[str, int]) -> None:
    url, writer = arguments
    for number in range(RUNS):
        with connect(url) as database:
            tests = {f"test{index}": "passed" for index in range(20)}
            database.add(record(number, tests, library=f"writer{writer}"))  # type: ignore[arg-type]


def test_many_writers_at_once_lose_nothing(url: str) -> None:
    # A process with threads, as those of pytest may be, must not fork; the server for that may.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Pool(WRITERS) as pool:
        pool.map(write, [(url, writer) for writer in range(WRITERS)], chunksize=1)

    with connect(url) as database, database.reading() as connection:
        for writer in range(WRITERS):
            history = queries.history(connection, f"writer{writer}", record().run.cell, "test", 99)
            assert [run.counts for run in history] == [{"passed": 20}] * RUNS


def write_with_summaries(arguments: tuple[str, int]) -> None:
    url, writer = arguments
    with connect(url) as database:
        for number in range(RUNS):
            database.add(record(number * 10 + writer, {"a": "failed"}, library=f"lib{writer % 2}"))
            refresh(database, FLAKY_SECONDS)


def test_writers_at_once_store_no_outdated_summary(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_with_summaries, [(url, writer) for writer in range(8)]))
    with connect(url) as database:
        assert reported(database) == computed(database)
        refresh(database, FLAKY_SECONDS)
        assert None not in stored(database)
        assert reported(database) == computed(database)


def test_an_emptied_table_removes_the_summaries(url: str) -> None:
    with connect(url) as database:
        database.add(record(1, {"a": "failed"}))
        refresh(database, FLAKY_SECONDS)
        execute(sa.text("TRUNCATE outcomes"))(database)
        assert stored(database) == [None]


def test_what_ran_while_the_server_was_away_is_stored_when_it_is_back(
    postgresql: RealPostgresql, url: str, checkout: Checkout
) -> None:
    (checkout.root / "empty").mkdir()
    make = "echo 'int x;' | ${CC:-gcc} -shared -fPIC -xc - -o /build/libx.so"
    library = (
        f'{{path: empty, build: {{system: script, commands: ["{make}"]}}, artifacts: [libx.so]}}'
    )
    with (checkout.root / "matrix.yaml").open("a") as file:
        file.write(f"libraries: {{a: {library}}}\n")
    checkout.variables["ENVMATRIX_RESULTS"] = url
    checkout.run("run", "compile", BUILT)

    postgresql.stop()
    done = checkout.run("run", "compile", BUILT)
    journals = checkout.root / ".envmatrix/journals"

    assert "the results store" in done.stderr
    assert count_journals(journals) == 1
    postgresql.start()
    checkout.run("report")
    assert count_journals(journals) == 0
    with connect(url) as database, database.reading() as connection:
        assert len(queries.history(connection, "a", BUILT, "compile", 9)) == 2


def test_a_server_that_ends_while_jobs_run_loses_no_result(
    postgresql: RealPostgresql, url: str, checkout: Checkout
) -> None:
    (checkout.root / "slow").mkdir()
    test = '{framework: commands, run: ["sleep 5"]}'
    library = f'{{path: slow, build: {{system: script, commands: ["true"]}}, test: {test}}}'
    with (checkout.root / "matrix.yaml").open("a") as file:
        file.write(f"libraries: {{slow: {library}}}\n")
    checkout.variables["ENVMATRIX_RESULTS"] = url
    process = checkout.start("test", "--rerun")
    wait_for(lambda: f"start    test slow {BUILT}" in checkout.output)
    postgresql.stop()
    journals = checkout.root / ".envmatrix/journals"

    assert process.wait(60) == 0
    assert "2 done" in checkout.output
    assert "the results store" in checkout.output
    assert count_journals(journals) == 2
    postgresql.start()
    checkout.run("report")
    assert count_journals(journals) == 0
    with connect(url) as database, database.reading() as connection:
        runs = [queries.history(connection, "slow", BUILT, verb, 9) for verb in ("compile", "test")]
    assert [len(history) for history in runs] == [1, 1]
