"""Composes the report of the newest runs from the summaries of places."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date

import sqlalchemy as sa

from envmatrix.records import dataclass
from envmatrix.results import queries, summary
from envmatrix.results.database import LEFT_OUT
from envmatrix.results.places import FLAKY_SECONDS, summaries
from envmatrix.results.queries import Place
from envmatrix.results.summary import Failure, PlaceSummary, Report, ReportEntry
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.outcomes import State, TestOutcome


@dataclass(frozen=True, slots=True)
class Scope:
    """The subject of a report; None selects all libraries or cells, or every library in each of the
    cells (`places`). `now` and `since`, named
    `since_name`, are in seconds since 1970."""

    today: date
    now: float
    waivers: tuple[Waiver, ...] = ()
    libraries: Collection[str] | None = None
    cells: Collection[str] | None = None
    places: Collection[tuple[str, str]] | None = None
    since: float | None = None
    since_name: str | None = None

    def has(self, library: str, cell: str) -> bool:
        return (
            (self.libraries is None or library in self.libraries)
            and (self.cells is None or cell in self.cells)
            and (self.places is None or (library, cell) in self.places)
        )


def compose(connection: sa.Connection, scope: Scope, waiting: int = 0) -> Report:
    """Return the report of the newest runs; `waiting` runs are not stored yet."""
    since = scope.now - FLAKY_SECONDS
    places = summaries(connection, since, scope.has)
    entries = tuple(_entries(places, scope))
    failures = tuple(failure for entry in entries for failure in entry.failures)
    expired = tuple(waiver for waiver in scope.waivers if waiver.has_expired(scope.today))
    used = {failure.waiver for failure in failures}
    broke = _newly_broken(connection, scope, failures)
    invalid = connection.info.get(LEFT_OUT, {})  # after all queries of rows
    left_out = {table: len(keys) for table, keys in invalid.items()}
    return Report(
        entries=entries,
        failures=failures,
        flaky=summary.flakes(places, since),
        slower=tuple(slowdown for place in places for slowdown in place.slower),
        expired=expired,
        unused=tuple(waiver for waiver in scope.waivers if waiver not in {*used, *expired}),
        broke=broke,
        since=scope.since_name,
        waiting=waiting,
        left_out=left_out,
        unreadable=_unreadable(connection, places) if left_out else (),
    )


def _unreadable(connection: sa.Connection, places: Iterable[PlaceSummary]) -> tuple[Place, ...]:
    """Return those of the places that have runs which should count, and no valid one."""
    counted = set(queries.counted_places(connection))
    without_result = [(place.library, place.cell) for place in places if not place.runs]
    return tuple(place for place in without_result if place in counted)


def _entries(places: Iterable[PlaceSummary], scope: Scope) -> Iterable[ReportEntry]:
    """Yield the places with runs that count."""
    for place in places:
        if place.runs:
            failures = summary.waive(place.failures, scope.waivers, scope.today)
            yield ReportEntry(
                place.library, place.cell, place.runs, failures, place.size, place.coverage
            )


def _newly_broken(
    connection: sa.Connection, scope: Scope, failures: Sequence[Failure]
) -> tuple[Failure, ...]:
    if scope.since is None:
        return ()
    groups = summary.newest_runs(queries.latest(connection, scope.since))
    runs = [stored for place, group in groups.items() if scope.has(*place) for stored in group]
    places = {(item.library, item.cell) for item in failures}
    ids = [stored.run.id for stored in runs if (stored.run.library, stored.run.cell) in places]
    tests = queries.stored_parts(connection, TestOutcome, ids)
    before: dict[tuple[str, str, str], State] = {}
    for stored in runs:
        place = (stored.run.library, stored.run.cell)
        before[(*place, f"step:{stored.run.work}")] = stored.end.state
        before |= {(*place, item.name): item.state for item in tests.get(stored.run.id, ())}
    return summary.newly_broken(before, failures)
