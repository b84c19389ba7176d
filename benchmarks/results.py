"""How fast are outcomes stored, and reports and the dashboard's pages about all of them?

A store of SQLite with 1,000,000 outcomes: 5 libraries in 20 cells, 100 runs of each, 100 tests a
run, of which some fail and some are flaky; `--outcomes` changes the number of runs. As many runs
are stored at once as of journals, and summaries after every 1,000 runs. The same data is asked by
one plain SQL query for what the first page shows of each place, which nothing could do without.
Targets: 30,000 outcomes stored in a second; the report and the first page within 8 times the CPU
time of that query; any other page within 200 ms.
"""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing

from envmatrix.results.database import Database, connect
from envmatrix.results.journal import MOST_AT_ONCE
from envmatrix.results.places import refresh
from envmatrix.results.records import End, Record, Revision, Run
from envmatrix.results.report import Scope, compose
from envmatrix.results.site import Site
from envmatrix.sessions.outcomes import Measurement, State, Step, TestOutcome
from envmatrix.sessions.products import Product

LIBRARIES, CELLS, RUNS, TESTS = 5, 20, 100, 100
AT_ONCE = 1_000
BASE = "one SQL query"
START, HOUR = 1_790_000_000.0, 3600.0
# One SELECT for the newest run of each library and cell, by the index.
PLAIN = """
SELECT runs.* FROM runs JOIN (
  SELECT library, cell, verb, max(started) AS started FROM runs GROUP BY library, cell, verb
) AS newest USING (library, cell, verb, started)
"""


def records(runs: int = RUNS) -> Iterator[Record]:
    chance = random.Random(1)  # noqa: S311 -- the same each time
    for number in range(runs):
        for library in range(LIBRARIES):
            for cell in range(CELLS):
                breaks = library == 1 and cell < 5 and number > 0.8 * runs
                yield _record((number, library, cell), breaks, chance)


def _record(key: tuple[int, int, int], breaks: bool, chance: random.Random) -> Record:
    number, library, cell = key
    tests = tuple(_test(index, breaks, chance) for index in range(TESTS))
    bad = any(test.state == "failed" for test in tests)
    return Record(
        Run(
            id=f"{number:08d}-{library:04d}-{cell:04d}",
            library=f"lib{library}",
            cell=f"cuda13.{cell}-debian12-x86_64",
            verb="test",
            started=START + HOUR * number + cell,
            revision=Revision(f"{number:040x}", "main", START + HOUR * number),
            image="envmatrix/e:devel-amd64-0123456789ab",
            digest="sha256:" + "0" * 64,
            host="machine",
        ),
        End("failed" if bad else "passed", 60.0 + chance.random(), "product" if bad else None),
        (Step("compile", 0, 50.0, "[1/9] Building\n" * 200), Step("test", 0, 9.0, "ok\n" * 200)),
        tests,
        (Measurement("line coverage", 80.0, "%", "higher"),),
        (Product("libx.so", "x86_64", 2_000_000, "0" * 64),),
    )


def _test(index: int, breaks: bool, chance: random.Random) -> TestOutcome:
    state: State = "passed"
    if breaks and index < 3:
        state = "failed"
    elif chance.random() < 0.001:
        state = "flaky"
    elif index > 90:
        state = "skipped"
    return TestOutcome(
        f"suite.test_{index}", state, chance.random(), "" if state == "passed" else "no"
    )


def fill(database: Database, runs: int) -> Mapping[str, timing.Usage]:
    """Store the runs; return the usage of storing them and their summaries."""
    usages = dict.fromkeys(("runs", "summaries"), timing.Usage(0.0, 0.0))
    entries = records(runs)
    while batch := list(islice(entries, AT_ONCE)):
        usages["runs"] += timing.timed(partial(store, database, batch))
        now = batch[-1].run.started
        usages["summaries"] += timing.timed(partial(refresh, database, now))
        print(f"stored until run {batch[-1].run.id}", file=sys.stderr, flush=True)
    return usages


def store(database: Database, batch: Sequence[Record]) -> None:
    for start in range(0, len(batch), MOST_AT_ONCE):
        database.add(*batch[start : start + MOST_AT_ONCE])


def main() -> None:
    parser = timing.arguments(__doc__, rounds=25)
    places = LIBRARIES * CELLS
    parser.add_argument("--outcomes", type=int, default=places * RUNS * TESTS, metavar="N")
    options = parser.parse_args()
    runs = options.outcomes // (places * TESTS)
    timing.announce(f"{places * runs * TESTS:,} outcomes")
    with TemporaryDirectory(prefix="envmatrix-results-") as scratch:
        file = Path(scratch, "results.sqlite")
        with connect(file) as database:
            usages = fill(database, runs)
            for name, usage in usages.items():
                print(f"{name} stored in {usage.wall:.1f} s, {usage.cpu:.1f} s of CPU time")
            total = usages["runs"] + usages["summaries"]
            count = places * runs * TESTS
            print(
                f"{count / total.wall:,.0f} outcomes stored in a second, "
                f"{count / total.cpu:,.0f} in one of CPU time; {file.stat().st_size >> 20} MB\n"
            )
            scope = Scope(date(2026, 10, 1), START + HOUR * runs)
            with database.reading() as connection:

                def page(path: str) -> str | None:
                    return Site(connection, scope).page(path)  # it keeps its report

                plain = sqlite3.connect(file)
                fails, good = (f"cell/lib{n}/cuda13.1-debian12-x86_64.html" for n in (1, 0))
                actions: dict[str, Callable[[], object]] = {
                    BASE: lambda: plain.execute(PLAIN).fetchall(),
                    "report": lambda: compose(connection, scope),
                    "index.html": lambda: page("index.html"),
                    "a cell that fails": lambda: page(fails),
                    "a cell that is good": lambda: page(good),
                    "a run": lambda: page("run/00000090-0001-0001.html"),
                }
                sides = {name: partial(timing.timed, action) for name, action in actions.items()}
                rounds = timing.interleaved(sides, options.rounds)
                plain.close()
    rows = [
        [
            name,
            f"{1000 * timing.wall(usages):.1f} ms",
            f"{1000 * timing.cpu(usages):.1f} ms",
            f"{timing.ratio(rounds, name, BASE, of='cpu'):.1f}",
        ]
        for name, usages in rounds.items()
    ]
    print(timing.table(["", "time", "CPU", "CPU to the query"], rows))


if __name__ == "__main__":
    main()
