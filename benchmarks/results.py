"""How fast are the dashboard's pages and the report over a million outcomes?

A store of SQLite with 1,000,000 outcomes: 5 libraries in 20 cells, 100 runs of each, 100 tests a
run, of which some fail and some are flaky; and the same data asked by one plain SQL query for what
the first page shows of each place, which nothing could do without. Target: any page's data within
200 ms.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing

from envmatrix.results.database import connect
from envmatrix.results.records import End, Record, Revision, Run
from envmatrix.results.report import Scope, compose
from envmatrix.results.site import Site
from envmatrix.sessions.outcomes import Measurement, State, Step, TestOutcome
from envmatrix.sessions.products import Product

LIBRARIES, CELLS, RUNS, TESTS = 5, 20, 100, 100
BASE = "one SQL query"
START, HOUR = 1_790_000_000.0, 3600.0
# One SELECT for the newest run of each library and cell, by the index.
PLAIN = """
SELECT runs.* FROM runs JOIN (
  SELECT library, cell, verb, max(started) AS started FROM runs GROUP BY library, cell, verb
) AS newest USING (library, cell, verb, started)
"""


def records() -> Iterator[Record]:
    chance = random.Random(1)  # noqa: S311 -- the same each time
    for number in range(RUNS):
        for library in range(LIBRARIES):
            for cell in range(CELLS):
                yield _record(number, library, cell, chance)


def _record(number: int, library: int, cell: int, chance: random.Random) -> Record:
    breaks = library == 1 and cell < 5 and number > 80
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


def main() -> None:
    options = timing.arguments(__doc__, rounds=9).parse_args()
    timing.announce("A million outcomes")
    with TemporaryDirectory(prefix="envmatrix-results-") as scratch:
        file = Path(scratch, "results.sqlite")
        start = time.perf_counter()
        with connect(file) as database:
            for record in records():
                database.add(record)
            stored = time.perf_counter() - start
            count = LIBRARIES * CELLS * RUNS * TESTS
            print(f"{count:,} outcomes stored in {stored:.0f} s; {file.stat().st_size >> 20} MB\n")
            scope = Scope(date(2026, 10, 1), START + HOUR * RUNS)
            with database.reading() as connection:
                site = Site(connection, scope)
                plain = sqlite3.connect(file)
                fails, good = (f"cell/lib{n}/cuda13.1-debian12-x86_64.html" for n in (1, 0))
                actions: dict[str, Callable[[], object]] = {
                    BASE: lambda: plain.execute(PLAIN).fetchall(),
                    "report": lambda: compose(connection, scope),
                    "index.html": lambda: site.page("index.html"),
                    "a cell that fails": lambda: site.page(fails),
                    "a cell that is good": lambda: site.page(good),
                    "a run": lambda: site.page("run/00000090-0001-0001.html"),
                }
                sides = {name: partial(timing.timed, action) for name, action in actions.items()}
                rounds = timing.interleaved(sides, options.rounds)
                plain.close()
    rows = [
        [name, f"{1000 * timing.wall(usages):.0f} ms", f"{timing.ratio(rounds, name, BASE):.1f}"]
        for name, usages in rounds.items()
    ]
    print(timing.table(["", "time", "to the query"], rows))


if __name__ == "__main__":
    main()
