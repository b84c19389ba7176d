"""The dashboard: pages of plain HTML that need neither a server nor JavaScript.

A page's path contains a stored name only if it is a plain file name, otherwise its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jinja2
import sqlalchemy as sa
from markupsafe import Markup

from envmatrix.console import amount_of
from envmatrix.records import dataclass
from envmatrix.results import formats, queries, summary
from envmatrix.results.queries import StoredRun
from envmatrix.results.records import BAD
from envmatrix.results.report import Scope, compose
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.outcomes import Measurement, Step, TestOutcome
from envmatrix.sessions.products import Product
from envmatrix.text import duration

# The number of runs in trends and histories.
_RUNS = 30
# The most tests of a kind on a page.
_TESTS = 1_000
_STRIP = 12
# The most names of libraries, cells and runs whose file names are kept.
_NAMES = 4_096

# Names that are valid file names everywhere; hashed names contain a tilde.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._+-]{0,119}", re.ASCII)
_HASHED = re.compile(r"[A-Za-z0-9_]{0,40}~[0-9a-f]{32}", re.ASCII)

_TEMPLATES = Path(__file__).parent / "templates"
ASSETS: Mapping[str, str] = {
    "style.css": "text/css; charset=utf-8",
    "grid.js": "text/javascript; charset=utf-8",
}
_TREND_START = Markup(
    '<svg class="trend" viewBox="0 0 100 24" role="img" aria-label="{0}"><title>{0}</title>'
    '<polyline points="'
)
_TREND_END = Markup('"/></svg>')
# The generator in the head of every page.
GENERATOR = '<meta name="generator" content="envmatrix">'
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Site:
    """The pages of `scope` by their paths. `cells` of the matrix are shown even without runs;
    `waiting` runs are not stored yet."""

    connection: sa.Connection
    scope: Scope
    cells: Sequence[str] = ()
    waiting: int = 0

    def paths(self) -> Iterator[str]:
        """Yield the paths of a static site: for each library and cell its page and the runs that
        the page links."""
        yield "index.html"
        for library, cell in sorted(queries.places(self.connection)):
            if self.scope.has(library, cell):
                yield cell_page(library, cell)
                for stored in queries.history(self.connection, library, cell, None, _RUNS):
                    yield run_page(stored.run.id)

    def page(self, path: str) -> str | None:
        """Return the page at a path; None if it does not exist."""
        kind, *names = path.removesuffix(".html").split("/")
        if (kind, names) == ("index", []):
            return self._index()
        if not all(_PLAIN.fullmatch(name) or _HASHED.fullmatch(name) for name in names):
            return None
        # Only hashes need a search: a plain name equals the stored one.
        is_hashed = any("~" in name for name in names)
        if kind == "cell" and len(names) == 2:
            places = queries.places(self.connection) if is_hashed else [(names[0], names[1])]
            cells = (item for item in places if [file_name(name) for name in item] == names)
            return next((self._cell(*item) for item in cells), None)
        if kind == "run" and len(names) == 1:
            ids = queries.ids(self.connection) if is_hashed else names
            matches = (item for item in ids if [file_name(item)] == names)
            runs = (queries.run(self.connection, item) for item in matches)
            return next((self._run(stored, "../") for stored in runs if stored), None)
        return None

    def _index(self) -> str:
        report = compose(self.connection, self.scope, self.waiting)
        entries = {(entry.library, entry.cell): entry for entry in report.entries}
        # Cells of the matrix in its order, then cells removed from it.
        cells = [*self.cells, *sorted({cell for _, cell in entries} - set(self.cells))]
        selected = self.scope.cells
        return self._rendered(
            "index.html.j2",
            "",
            report=report,
            bad=report.bad,
            entries=entries,
            waived=[failure for failure in report.failures if failure.waiver],
            libraries=sorted({library for library, _ in entries}),
            cells=[cell for cell in cells if selected is None or cell in selected],
        )

    def _cell(self, library: str, cell: str) -> str | None:
        """Return the page of the most informative of the newest runs: failed, or with tests."""
        latest = queries.latest(self.connection, places=[(library, cell)])
        runs = summary.newest_runs(latest).get((library, cell))
        runs = runs or queries.history(self.connection, library, cell, None, 1)
        if not runs:
            return None
        return self._run(max(runs, key=_page_rank), "../../", is_newest=True)

    def _run(self, stored: StoredRun, root: str, *, is_newest: bool = False) -> str:
        run, connection = stored.run, self.connection
        history = queries.history(connection, run.library, run.cell, None, _RUNS)
        ids = [run.id]
        tests = queries.stored_parts(connection, TestOutcome, ids, with_output=True).get(run.id, ())
        bad = [test for test in tests if test.state != "passed"]
        of_verb = [item for item in reversed(history) if item.run.verb == run.verb][-_STRIP:]
        names = [test.name for test in bad[:_TESTS]]
        sightings = queries.sightings(connection, of_verb, names) if names else {}
        measured = queries.stored_parts(connection, Measurement, [item.run.id for item in of_verb])
        findings = queries.stored_parts(connection, Finding, ids).get(run.id, ())
        return self._rendered(
            "run.html.j2",
            root,
            stored=stored,
            is_newest=is_newest,
            tests=tests,
            counts=", ".join(f"{stored.counts[state]} {state}" for state in stored.counts),
            bad=sorted(bad, key=lambda test: test.state == "skipped"),
            good=[test for test in tests if test.state == "passed"],
            most=_TESTS,
            sightings={
                name: sorted(rows, key=lambda row: row.started) for name, rows in sightings.items()
            },
            measurements=queries.stored_parts(connection, Measurement, ids).get(run.id, ()),
            values=queries.grouped(
                (row.name, row.value) for item in of_verb for row in measured.get(item.run.id, ())
            ),
            products=queries.stored_parts(connection, Product, ids).get(run.id, ()),
            findings=sorted(findings, key=lambda finding: not finding.is_new),
            steps=queries.stored_parts(connection, Step, ids, with_output=True).get(run.id, ()),
            history=history,
            history_times=[item.end.seconds for item in of_verb],
        )

    def _rendered(self, template: str, root: str, **values: Any) -> str:
        now = datetime.fromtimestamp(self.scope.now, UTC)
        now_text = f"{now:%Y-%m-%d %H:%M} UTC"
        page = _environment().get_template(template)
        return page.render(
            root=root, generator=GENERATOR, now=now_text, now_iso=now.isoformat(), **values
        )


@lru_cache(_NAMES)
def file_name(name: str) -> str:
    """Return a unique plain file name for a stored name."""
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


def _page_rank(stored: StoredRun) -> tuple[bool, bool, float]:
    return stored.end.state in BAD, bool(stored.counts), stored.run.started


def polyline(values: Sequence[float]) -> str:
    """Return the points of an SVG polyline through values, in a box of 100 by 24 pixels."""
    low, high = min(values), max(values)
    scale = 20 / ((high - low) or 1.0)
    return _points(len(values)) % tuple([22 - scale * (value - low) for value in values])


@lru_cache(_NAMES)
def badge(state: str, word: str) -> Markup:
    """Return a word in the colours of a state."""
    return Markup('<span class="badge {}">{}</span>').format(state, word)


def trend(values: Sequence[float], label: str) -> Markup:
    """Return a line through values, if there are several."""
    if len(values) < 2:
        return Markup()
    points = Markup(polyline(values))  # noqa: S704 -- numbers, for which formatting takes long
    return Markup("").join((_trend_start(label), points, _TREND_END))


@lru_cache(_NAMES)
def _trend_start(label: str) -> Markup:
    return _TREND_START.format(label)


@cache
def _points(count: int) -> str:
    """Return the format of that many points at the same distance."""
    return " ".join(f"{100 * number / (count - 1):.1f},%.1f" for number in range(count))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"badge": badge, "trend": trend}
    environment.filters |= {
        "duration": duration,
        "run_page": run_page,
        "cell_page": cell_page,
        "flakiness": formats.flakiness,
        "invalid": formats.invalid_rows_text,
        "moment": lambda started: f"{datetime.fromtimestamp(started, UTC):%Y-%m-%d %H:%M}",
        "revision": summary.revision_text,
        "sign": formats.sign,
        "since": formats.origin_text,
        "size": lambda count: amount_of(count, "bytes"),
        "state": lambda entry: "waived" if entry.is_waived else entry.state,
        "tests": formats.tests_of,
        "waived": formats.waiver_text,
    }
    return environment
