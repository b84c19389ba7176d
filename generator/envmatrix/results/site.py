"""The dashboard: pages of plain HTML that need neither a server nor JavaScript.

A server renders each page on request. A static site has the pages that its first one leads to: a
library in a cell, a test that fails, and the runs where a failure began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from markupsafe import Markup

from envmatrix.comparison.history import Sample, changes
from envmatrix.records import dataclass
from envmatrix.results import queries, summary
from envmatrix.results.charts import Point, chart, distribution, in_unit_of_duration
from envmatrix.results.failure_groups import FailureGroup, extent_text, group_failures
from envmatrix.results.heat_map import count_states, heat_map
from envmatrix.results.page_paths import (
    CELLS,
    INDEX,
    PERFORMANCE,
    RUNS,
    TESTS,
    cell_page,
    file_name,
    is_file_name,
    is_hashed,
    run_page,
    test_page,
)
from envmatrix.results.page_templates import commit, moment, render, tail
from envmatrix.results.performance import (
    PerformanceTable,
    performance_table,
    sides_of,
)
from envmatrix.results.queries import Sighting, StoredRun
from envmatrix.results.records import BAD, Revision, Run
from envmatrix.results.report import Scope, compose
from envmatrix.results.summary import Failure, Report, ReportEntry, revision_text
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.outcomes import Comparison, Measurement, Step, TestOutcome
from envmatrix.sessions.products import Product

# The number of runs in histories, and of those of the same verb in trends.
_RUNS = 30
_STRIP = 12
# The number of runs in charts of measurements, where changes of level need many.
_MEASURED = 200
# The most tests of a kind on a page.
_TESTS = 1_000
# The most groups of failures on the first page, and how many of them are visible at once.
_GROUPS, _VISIBLE = 50, 8
# States of cells whose map is open on the first page, and the most cells of maps that always are.
_ATTENTION, _UNFOLDED = (*sorted(BAD), "waived"), 100
# The number of lines of the log of a step that succeeded, in a static site.
_LOG_LINES = 50


@dataclass(frozen=True, slots=True)
class Project:
    """What pages say about a repository: its name, the `cells` of its matrix, which are visible
    even without runs, and by library the owner and the URL of a commit, with `{commit}`."""

    name: str = ""
    cells: Sequence[str] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    commit_urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """The pages of a static site: paths of runs by their ids, and libraries with their tests."""

    runs: Mapping[str, str]
    tests: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Site:
    """The pages of `scope` by their paths; all of them, or those of a selection. `waiting` runs are
    not stored yet."""

    connection: sa.Connection
    scope: Scope
    project: Project = field(default_factory=Project)
    waiting: int = 0
    selection: Selection | None = None

    @cached_property
    def report(self) -> Report:
        return compose(self.connection, self.scope, self.waiting)

    def static(self) -> Site:
        """Return the site with the pages that the first page leads to."""
        return replace(self, selection=_selection(self.report))

    def paths(self) -> Iterator[str]:
        """Yield the paths of a static site."""
        selection = self.selection or _selection(self.report)
        yield INDEX
        if self._performance.rows:
            yield PERFORMANCE
        for entry in self.report.entries:
            yield cell_page(entry.library, entry.cell)
        for library, test in sorted(selection.tests):
            yield test_page(library, test)
        yield from sorted(path for path in selection.runs.values() if path.startswith(f"{RUNS}/"))

    def page(self, path: str) -> str | None:
        """Return the page at a path; None if it does not exist."""
        kind, *names = path.removesuffix(".html").split("/")
        if (kind, names) == ("index", []):
            return self._index()
        if path == PERFORMANCE:
            return self._performance_page() if self._performance.rows else None
        if not all(map(is_file_name, names)):
            return None
        if kind == CELLS and len(names) == 2:
            return self._cell_page(names)
        if kind == RUNS and len(names) == 1:
            return self._run_page(names[0])
        if kind == TESTS and len(names) == 2:
            return self._test_page(*names)
        return None

    def _cell_page(self, names: Sequence[str]) -> str | None:
        # Only hashes need a search: a plain name equals the stored one.
        is_search = any(map(is_hashed, names))
        places = queries.places(self.connection) if is_search else [(names[0], names[1])]
        cells = (item for item in places if [file_name(name) for name in item] == names)
        return next((self._cell(*item) for item in cells), None)

    def _run_page(self, name: str) -> str | None:
        ids = queries.ids(self.connection) if is_hashed(name) else [name]
        runs = (queries.run(self.connection, item) for item in ids if file_name(item) == name)
        return next((self._run(stored, "../") for stored in runs if stored), None)

    def _test_page(self, library_name: str, test_name: str) -> str | None:
        entries = [row for row in self.report.entries if file_name(row.library) == library_name]
        if not entries:
            return None
        failing = {failure.name for entry in entries for failure in entry.failures}
        test = next((name for name in failing if file_name(name) == test_name), None)
        if test is None and is_hashed(test_name):
            names = queries.test_names(self.connection, _ids(entries))
            test = next((name for name in names if file_name(name) == test_name), None)
        return self._test(entries, test_name if test is None else test)

    def _index(self) -> str:
        report = self.report
        states = _states_by_library(report.entries)
        runs = [stored for entry in report.entries for stored in entry.runs]
        newest = max(runs, key=lambda stored: (stored.run.started, stored.run.id), default=None)
        failing, broke, waived = _groups(report)
        maps = [
            (library, heat_map(self._cells(cells)), cells, count_states(self._cells(cells), cells))
            for library, cells in states.items()
        ]
        return self._rendered(
            "index.html.j2",
            "",
            report=report,
            newest=newest,
            revisions=len({stored.run.revision.id for stored in runs}),
            cells=len(self._cells([entry.cell for entry in report.entries])),
            maps=maps,
            attention=_ATTENTION,
            unfolded=_UNFOLDED,
            causes=len(failing),
            failing=failing[:_GROUPS],
            visible=_VISIBLE,
            more=len(failing) - _GROUPS,
            broke=broke[:_GROUPS],
            waived=waived[:_GROUPS],
            extent=lambda group: extent_text(group.cells, states[group.library]),
            runs={stored.run.id: stored.run for stored in runs},
            performance=self._performance,
        )

    @cached_property
    def _performance(self) -> PerformanceTable:
        runs = [stored for entry in self.report.entries for stored in entry.runs]
        ids = [stored.run.id for stored in runs if stored.run.verb == "perf"]
        rows = queries.stored_parts(self.connection, Comparison, ids)
        return performance_table(runs, rows)

    def _performance_page(self) -> str:
        return self._rendered("performance.html.j2", "", table=self._performance)

    def _cells(self, with_results: Iterable[str]) -> Sequence[str]:
        """Return the cells of the matrix and those with results, as far as they are selected."""
        selected = self.scope.cells
        of_matrix = (cell for cell in self.project.cells if selected is None or cell in selected)
        return tuple(dict.fromkeys((*of_matrix, *with_results)))

    def _cell(self, library: str, cell: str) -> str | None:
        """Return the page of the most informative of the newest runs: failed, or with tests."""
        latest = queries.latest(self.connection, places=[(library, cell)])
        runs = summary.newest_runs(latest).get((library, cell))
        runs = runs or queries.history(self.connection, library, cell, None, 1)
        if not runs:
            return None
        failures = self._failures(library, cell)
        return self._run(max(runs, key=_page_rank), "../../", failures, is_newest=True)

    def _failures(self, library: str, cell: str) -> Sequence[Failure]:
        """Return the current failures of a library in a cell."""
        if self.selection is None:
            scope = replace(self.scope, libraries={library}, cells={cell}, since=None)
            return compose(self.connection, scope).failures
        return self._failures_by_place.get((library, cell), ())

    @cached_property
    def _failures_by_place(self) -> Mapping[tuple[str, str], Sequence[Failure]]:
        return {(entry.library, entry.cell): entry.failures for entry in self.report.entries}

    def _run(
        self,
        stored: StoredRun,
        root: str,
        failures: Sequence[Failure] = (),
        *,
        is_newest: bool = False,
    ) -> str:
        run, connection = stored.run, self.connection
        history = queries.history(connection, run.library, run.cell, None, _RUNS)
        ids = [run.id]
        tests = queries.stored_parts(connection, TestOutcome, ids, with_output=True).get(run.id, ())
        bad = [test for test in tests if test.state != "passed"]
        of_verb = [item for item in reversed(history) if item.run.work == run.work]
        last = of_verb[-_STRIP:]
        measured_runs = self._measured_runs(run) if run.verb == "perf" else last
        names = [test.name for test in bad[:_TESTS]]
        sightings = queries.sightings(connection, last, names) if names else {}
        measured_ids = [item.run.id for item in measured_runs]
        measured = queries.stored_parts(connection, Measurement, measured_ids)
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
            failures={failure.name: failure for failure in failures},
            sightings={
                name: sorted(rows, key=lambda row: row.started) for name, rows in sightings.items()
            },
            measurements=queries.stored_parts(connection, Measurement, ids).get(run.id, ()),
            comparisons=[
                (row, _distribution(row))
                for row in queries.stored_parts(connection, Comparison, ids).get(run.id, ())
            ],
            charts=_charts(measured_runs, measured),
            products=queries.stored_parts(connection, Product, ids).get(run.id, ()),
            findings=sorted(findings, key=lambda finding: not finding.is_new),
            steps=[(step, self._log(step)) for step in self._steps(run.id)],
            history=history,
            times=_time_chart(of_verb),
        )

    def _measured_runs(self, run: Run) -> Sequence[StoredRun]:
        """Return the last runs that did the same work, oldest first."""
        rows = queries.history(
            self.connection, run.library, run.cell, run.verb, _MEASURED, run.part
        )
        return rows[::-1]

    def _steps(self, run: str) -> Sequence[Step]:
        return queries.stored_parts(self.connection, Step, [run], with_output=True).get(run, ())

    def _log(self, step: Step) -> str:
        is_short = self.selection is not None and step.status == 0
        return tail(step.log, _LOG_LINES) if is_short else step.log

    def _test(self, entries: Sequence[ReportEntry], test: str) -> str | None:
        """Return the page of a test in all cells; None if none of the newest runs has it."""
        library = entries[0].library
        failures = [item for entry in entries for item in entry.failures if item.name == test]
        outcomes = _newest_outcomes(
            entries, queries.outcomes_of(self.connection, _ids(entries), test)
        )
        failed = {item.cell: "waived" if item.waiver else item.state for item in failures}
        states = {cell: outcome.state for cell, outcome in outcomes.items()} | failed
        if not states:
            return None
        cells = self._cells(entry.cell for entry in entries)
        return self._rendered(
            "test.html.j2",
            "../../",
            library=library,
            test=test,
            groups=group_failures(failures),
            extent=lambda group: extent_text(group.cells, tuple(states)),
            map=heat_map(cells),
            states=states,
            counts=count_states(cells, states),
            seconds={cell: outcome.seconds for cell, outcome in outcomes.items()},
            runs={stored.run.id: stored.run for entry in entries for stored in entry.runs},
        )

    def _rendered(self, template: str, root: str, **values: Any) -> str:
        now = datetime.fromtimestamp(self.scope.now, UTC)
        return render(
            template,
            root=root,
            now=f"{moment(self.scope.now)} UTC",
            now_iso=now.isoformat(),
            project=self.project,
            commit=self._commit,
            run_path=self._run_path,
            test_path=self._test_path,
            **values,
        )

    def _commit(self, library: str, revision: Revision) -> Markup:
        return commit(revision, self.project.commit_urls.get(library))

    def _run_path(self, run: str) -> str:
        """Return the path of the page of a run; "" if it has none."""
        return run_page(run) if self.selection is None else self.selection.runs.get(run, "")

    def _test_path(self, library: str, test: str) -> str:
        """Return the path of the page of a test in all cells; "" if it has none."""
        is_page = self.selection is None or (library, test) in self.selection.tests
        return test_page(library, test) if is_page else ""


def _selection(report: Report) -> Selection:
    """Return the pages that the first page leads to."""
    main_runs = {
        max(entry.runs, key=_page_rank).run.id: cell_page(entry.library, entry.cell)
        for entry in report.entries
    }
    other_runs = {stored.run.id for entry in report.entries for stored in entry.runs}
    other_runs |= {sighting.run for item in report.failures for sighting in _sightings(item)}
    groups = [group for groups in _groups(report) for group in groups[:_GROUPS]]
    return Selection(
        runs={run: run_page(run) for run in other_runs} | main_runs,
        tests=frozenset((group.library, group.name) for group in groups),
    )


def _groups(report: Report) -> Sequence[Sequence[FailureGroup]]:
    """Return the groups of unwaived failures, of those that broke, and of waived ones."""
    waived = (failure for failure in report.failures if failure.waiver)
    return [group_failures(failures) for failures in (report.unwaived, report.broke, waived)]


def _sightings(failure: Failure) -> Iterator[Sighting]:
    """Yield where a failure began: the run that failed first, and the last one that did not."""
    if failure.origin:
        yield failure.origin.first_bad
        if failure.origin.last_good:
            yield failure.origin.last_good


def _states_by_library(entries: Iterable[ReportEntry]) -> Mapping[str, Mapping[str, str]]:
    """Return the states of cells by library."""
    states: dict[str, dict[str, str]] = {}
    for entry in entries:
        state = "waived" if entry.is_waived else entry.state
        states.setdefault(entry.library, {})[entry.cell] = state
    return states


def _ids(entries: Iterable[ReportEntry]) -> Sequence[str]:
    return [stored.run.id for entry in entries for stored in entry.runs]


def _newest_outcomes(
    entries: Iterable[ReportEntry], outcomes: Mapping[str, TestOutcome]
) -> Mapping[str, TestOutcome]:
    """Return the outcomes of a test by cell, of the newest run that has one; `outcomes` are by
    run."""
    return {
        entry.cell: outcomes[stored.run.id]
        for entry in entries
        for stored in sorted(entry.runs, key=lambda stored: stored.run.started)
        if stored.run.id in outcomes
    }


def _page_rank(stored: StoredRun) -> tuple[bool, bool, float]:
    return stored.end.state in BAD, bool(stored.counts), stored.run.started


def _time_chart(history: Sequence[StoredRun]) -> Markup:
    points = [_point(stored, stored.end.seconds) for stored in history]
    if not points:
        return Markup()
    unit, scaled = in_unit_of_duration(points)
    return chart(scaled, "time of the last runs", unit)


def _charts(
    history: Sequence[StoredRun], measured: Mapping[str, Sequence[Measurement]]
) -> Mapping[str, Markup]:
    """Return the charts of measurements in runs, oldest first, by their names."""
    rows_of = queries.grouped(
        ((row.name, row.unit), (stored, row.value))
        for stored in history
        for row in measured.get(stored.run.id, ())
    )
    return {
        name: chart([_point(*row) for row in rows], name, unit, _marks(rows))
        for (name, unit), rows in rows_of.items()
    }


def _marks(rows: Sequence[tuple[StoredRun, float]]) -> Mapping[int, str]:
    """Return where values of runs moved to another level, with a text. Runs in another image or on
    another machine are another series."""
    samples = [
        Sample(revision_text(stored.run.revision), value, (stored.run.digest, stored.run.host))
        for stored, value in rows
    ]
    return {
        change.index: f"{change.before} to {change.after}: {100 * change.effect:+.1f} %"
        for change in changes(samples)
    }


def _distribution(comparison: Comparison) -> Markup:
    sides = sides_of(comparison)
    rows = {"baseline": sides.baseline, "change": sides.change}
    return distribution(rows, comparison.unit)


def _point(stored: StoredRun, value: float) -> Point:
    return Point(stored.run.started, value, stored.end.state)
