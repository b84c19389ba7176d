"""The dashboard: pages of plain HTML that need neither a server nor JavaScript.

A stored name is part of a page's path only where it is a plain file name, else its hash is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import sqlalchemy as sa

from envmatrix.console import amount_of
from envmatrix.results import formats, queries, summary
from envmatrix.results.composition import Scope, compose
from envmatrix.results.queries import Kept
from envmatrix.results.records import BAD
from envmatrix.results.summary import Entry
from envmatrix.sessions.outcomes import Measurement

# Of how many runs trends and histories tell.
_RUNS = 30
# At most as many tests of a kind are on a page.
_TESTS = 1_000
_STRIP = 12

# Names that may be those of files, everywhere. What a hash stands for has a tilde.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._+-]{0,119}", re.ASCII)
_HASHED = re.compile(r"[A-Za-z0-9_]{0,40}~[0-9a-f]{32}", re.ASCII)

_TEMPLATES = Path(__file__).parent / "templates"
ASSETS: Mapping[str, str] = {
    "style.css": "text/css; charset=utf-8",
    "grid.js": "text/javascript; charset=utf-8",
}
# What every page says of itself in its head.
GENERATOR = '<meta name="generator" content="envmatrix">'
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Site:
    """The pages about what is in `scope`, by their paths. `cells` are those of the matrix, which
    are shown also where nothing has run; `waiting` runs are not stored."""

    connection: sa.Connection
    scope: Scope
    cells: Sequence[str] = ()
    waiting: int = 0

    def paths(self) -> Iterator[str]:
        """All that a directory without a server has: of each library and cell the runs that its
        page names."""
        yield "index.html"
        for library, cell in sorted(queries.places(self.connection)):
            if self.scope.has(library, cell):
                yield cell_page(library, cell)
                for kept in queries.history(self.connection, library, cell, None, _RUNS):
                    yield run_page(kept.run.id)

    def page(self, path: str) -> str | None:
        """The page at a path; None where there is none."""
        kind, *names = path.removesuffix(".html").split("/")
        if (kind, names) == ("index", []):
            return self._index()
        if not all(_PLAIN.fullmatch(name) or _HASHED.fullmatch(name) for name in names):
            return None
        # Only hashes have to be looked for: a plain name is what is stored.
        is_hashed = any("~" in name for name in names)
        if kind == "cell" and len(names) == 2:
            places = queries.places(self.connection) if is_hashed else [(names[0], names[1])]
            found = (its for its in places if [file_name(name) for name in its] == names)
            return next((self._cell(*its) for its in found), None)
        if kind == "run" and len(names) == 1:
            ids = queries.ids(self.connection) if is_hashed else names
            runs = (queries.run(self.connection, its) for its in ids if [file_name(its)] == names)
            return next((self._run(kept, "../") for kept in runs if kept), None)
        return None

    def _index(self) -> str:
        report = compose(self.connection, self.scope, self.waiting)
        entries = {(entry.library, entry.cell): entry for entry in report.entries}
        # Those of the matrix in its order, then those that it no longer has.
        known = [*self.cells, *sorted({cell for _, cell in entries} - set(self.cells))]
        wanted = self.scope.cells
        return self._rendered(
            "index.html.j2",
            "",
            report=report,
            entries=entries,
            waived=[failure for failure in report.failures if failure.waiver],
            libraries=sorted({library for library, _ in entries}),
            cells=[cell for cell in known if wanted is None or cell in wanted],
            times=report.times,
        )

    def _cell(self, library: str, cell: str) -> str | None:
        """The newest run that tells most: with tests if any."""
        found = queries.latest_of(self.connection, library, cell)
        runs = summary.newest(found).get((library, cell))
        runs = runs or queries.history(self.connection, library, cell, None, 1)
        if not runs:
            return None
        return self._run(max(runs, key=_telling), "../../", is_newest=True)

    def _run(self, kept: Kept, root: str, *, is_newest: bool = False) -> str:
        its, connection = kept.run, self.connection
        history = queries.history(connection, its.library, its.cell, None, _RUNS)
        ids = [its.id]
        tests = queries.outcomes_of(connection, ids, with_output=True).get(its.id, ())
        bad = [test for test in tests if test.state != "passed"]
        of_verb = [run for run in reversed(history) if run.run.verb == its.verb][-_STRIP:]
        names = [test.name for test in bad[:_TESTS]]
        seen = queries.sightings(connection, of_verb, names) if names else {}
        measured = queries.measurements_of(connection, [run.run.id for run in of_verb])
        return self._rendered(
            "run.html.j2",
            root,
            kept=kept,
            is_newest=is_newest,
            tests=tests,
            counts=", ".join(f"{kept.counts[state]} {state}" for state in kept.counts),
            bad=sorted(bad, key=lambda test: test.state == "skipped"),
            good=[test for test in tests if test.state == "passed"],
            most=_TESTS,
            seen={name: sorted(rows, key=lambda row: row.started) for name, rows in seen.items()},
            measurements=queries.measurements_of(connection, ids).get(its.id, ()),
            values=_series([measured.get(run.run.id, ()) for run in of_verb]),
            products=queries.products_of(connection, ids).get(its.id, ()),
            findings=queries.findings_of(connection, its.id),
            steps=queries.steps_of(connection, its.id),
            history=history,
            history_times=[run.end.seconds for run in of_verb],
        )

    def _rendered(self, template: str, root: str, **values: Any) -> str:
        now = datetime.fromtimestamp(self.scope.now, UTC)
        shown = f"{now:%Y-%m-%d %H:%M} UTC"
        found = _environment().get_template(template)
        return found.render(
            root=root, generator=GENERATOR, now=shown, now_iso=now.isoformat(), **values
        )


def file_name(name: str) -> str:
    """Return a plain file name that stands for a stored name, another one for each."""
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]+', '', name)[:40]}~{digest[:32]}"


def cell_page(library: str, cell: str) -> str:
    return f"cell/{file_name(library)}/{file_name(cell)}.html"


def run_page(run: str) -> str:
    return f"run/{file_name(run)}.html"


def asset(name: str) -> bytes:
    return (_TEMPLATES / name).read_bytes()


def _telling(kept: Kept) -> tuple[bool, bool, float]:
    return kept.end.state in BAD, bool(kept.counts), kept.run.started


def _series(measured: Sequence[Sequence[Measurement]]) -> Mapping[str, Sequence[float]]:
    """The values of each measurement over runs, in their order."""
    found: dict[str, list[float]] = {}
    for rows in measured:
        for row in rows:
            found.setdefault(row.name, []).append(row.value)
    return found


def polyline(values: Sequence[float]) -> str:
    """Points of a line through values, in a box of 100 by 24; higher values are higher up."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = 100 / (len(values) - 1)
    return " ".join(
        f"{number * step:.1f},{22 - 20 * (value - low) / span:.1f}"
        for number, value in enumerate(values)
    )


def duration(seconds: float) -> str:
    """0.25 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def _moment(started: float) -> str:
    return f"{datetime.fromtimestamp(started, UTC):%Y-%m-%d %H:%M}"


def _state(entry: Entry) -> str:
    return "waived" if entry.is_waived else entry.state


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "run_page": run_page,
        "cell_page": cell_page,
        "flakiness": lambda flake: formats.flakiness(flake.retried, flake.contradicted),
        "invalid": formats.invalid,
        "moment": _moment,
        "polyline": polyline,
        "revision": summary.described,
        "sign": formats.sign,
        "since": formats.since,
        "size": lambda count: amount_of(count, "bytes"),
        "state": _state,
        "tests": formats.tests_of,
        "waived": formats.waived,
    }
    return environment
