"""How large is the static dashboard, and how long does it take to write?

A store of 1,700 runs, 17 of each of 5 libraries in 20 cells. One side renders the pages that the
first one leads to, as `report --html` does, the other a page for each library in a cell and for
each of its last 30 runs. Target: a tenth of the CPU time and of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from benchmarks import timing
from benchmarks.results import CELLS, HOUR, LIBRARIES, START, fill

from envmatrix.results import queries
from envmatrix.results.database import connect
from envmatrix.results.page_paths import cell_page, run_page
from envmatrix.results.report import Scope
from envmatrix.results.site import Site

RUNS = 17
STATIC, ALL = "pages of the first one", "a page for each run"


def paths_of_all(connection: sa.Connection) -> Iterator[str]:
    yield "index.html"
    for library, cell in sorted(queries.places(connection)):
        yield cell_page(library, cell)
        for stored in queries.history(connection, library, cell, None, 30):
            yield run_page(stored.run.id)


def static_pages(connection: sa.Connection, scope: Scope) -> Iterator[str]:
    site = Site(connection, scope).static()
    return filter(None, map(site.page, site.paths()))


def all_pages(connection: sa.Connection, scope: Scope) -> Iterator[str]:
    site = Site(connection, scope)
    return filter(None, map(site.page, paths_of_all(connection)))


def write(pages: Iterator[str], directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for number, page in enumerate(pages):
        (directory / str(number)).write_text(page)


def main() -> None:
    options = timing.arguments(__doc__, rounds=5).parse_args()
    timing.announce(f"{LIBRARIES * CELLS * RUNS:,} runs")
    with TemporaryDirectory(prefix="envmatrix-dashboard-") as scratch:
        root = Path(scratch)
        with connect(root / "results.sqlite") as database:
            fill(database, RUNS)
            scope = Scope(date(2026, 10, 1), START + HOUR * RUNS)
            with database.reading() as connection:
                actions = {
                    STATIC: lambda: write(static_pages(connection, scope), root / STATIC),
                    ALL: lambda: write(all_pages(connection, scope), root / ALL),
                }
                sides = {name: partial(timing.timed, action) for name, action in actions.items()}
                rounds = timing.interleaved(sides, options.rounds)
        rows = []
        for name, usages in rounds.items():
            sizes = [file.stat().st_size for file in (root / name).iterdir()]
            rows.append(
                [
                    name,
                    f"{len(sizes):,}",
                    timing.megabytes(sum(sizes)),
                    timing.seconds(timing.cpu(usages)),
                    f"{timing.ratio(rounds, name, ALL, of='cpu'):.3f}",
                ]
            )
    print(timing.table(["", "pages", "size", "CPU", "CPU to all"], rows))


if __name__ == "__main__":
    main()
