"""Queries the store for all that one report needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import TypeAlias, TypeVar

import sqlalchemy as sa

from envmatrix.results import queries, summary
from envmatrix.results.database import LEFT_OUT
from envmatrix.results.queries import StoredRun
from envmatrix.results.records import BAD
from envmatrix.results.summary import Failure, Report, ReportEntry
from envmatrix.results.tables import outcomes
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.outcomes import COVERAGE, Measurement, State, TestOutcome
from envmatrix.sessions.products import Product

_HISTORY = 200
_TIMES = 30
# The most failures of a library in a cell whose origin is looked up.
_TRACED = 200
_FLAKY_SECONDS = 30 * 86_400.0

_T = TypeVar("_T")
_Groups: TypeAlias = Mapping[tuple[str, str], tuple[StoredRun, ...]]
_Tests: TypeAlias = Mapping[str, Sequence[TestOutcome]]


@dataclass(frozen=True, slots=True)
class Scope:
    """The subject of a report; None selects all libraries or cells. `now` and `since`, named
    `since_name`, are in seconds since 1970."""

    today: date
    now: float
    waivers: tuple[Waiver, ...] = ()
    libraries: Collection[str] | None = None
    cells: Collection[str] | None = None
    since: float | None = None
    since_name: str | None = None

    def has(self, library: str, cell: str) -> bool:
        return (self.libraries is None or library in self.libraries) and (
            self.cells is None or cell in self.cells
        )


def compose(connection: sa.Connection, scope: Scope, waiting: int = 0) -> Report:
    """Return the report of the newest runs; `waiting` runs are not stored yet."""
    groups, tests = _layer_groups(connection, _runs_in_scope(connection, scope))
    failures = tuple(_failures(connection, groups, tests, scope))
    traced = tuple(_trace_origins(connection, groups, failures))
    flakes = queries.flaky(connection, scope.now - _FLAKY_SECONDS)
    times = queries.times(connection, _TIMES)
    slowdowns = (
        summary.slowdown(place, ends)
        for place, ends in sorted(times.items())
        if place[:2] in groups
    )
    expired = tuple(waiver for waiver in scope.waivers if waiver.has_expired(scope.today))
    used = {failure.waiver for failure in failures}
    return Report(
        entries=tuple(_entries(connection, groups, traced)),
        failures=traced,
        flaky=tuple(flake for flake in flakes if scope.has(flake.library, flake.cell)),
        slower=tuple(filter(None, slowdowns)),
        expired=expired,
        unused=tuple(waiver for waiver in scope.waivers if waiver not in {*used, *expired}),
        broke=_newly_broken(connection, scope, traced),
        since=scope.since_name,
        waiting=waiting,
        times={
            key: tuple(end.seconds for end in times.get((*key, runs[-1].run.verb), ()))
            for key, runs in groups.items()
        },
        left_out=dict(connection.info.get(LEFT_OUT, {})),  # after all queries
    )


def _runs_in_scope(connection: sa.Connection, scope: Scope, before: float | None = None) -> _Groups:
    groups = summary.newest_runs(queries.latest(connection, before))
    return {key: runs for key, runs in groups.items() if scope.has(*key)}


def _layer_groups(connection: sa.Connection, groups: _Groups) -> tuple[_Groups, _Tests]:
    """Return the groups, with runs of parts of the tests layered over whole runs, and the outcomes
    of the layered runs by their ids."""
    layers = {key: runs for key, runs in groups.items() if summary.is_layered(runs)}
    ids = [stored.run.id for runs in layers.values() for stored in runs]
    tests = queries.stored_parts(connection, TestOutcome, ids) if ids else {}
    layered = dict(groups)
    remaining: dict[str, Sequence[TestOutcome]] = {}
    for key, runs in layers.items():
        layered[key], tests_of_runs = summary.layer_runs(runs, tests)
        remaining |= tests_of_runs
    return layered, remaining


def _failures(
    connection: sa.Connection, groups: _Groups, known_tests: _Tests, scope: Scope
) -> Iterator[Failure]:
    """Yield the failures of the runs; `known_tests` are outcomes that need no query."""
    failed = [stored for runs in groups.values() for stored in runs if stored.end.state in BAD]
    ids = [stored.run.id for stored in failed if stored.run.id not in known_tests]
    is_not_passed = outcomes.c.state != "passed"
    tests = {**queries.stored_parts(connection, TestOutcome, ids, is_not_passed), **known_tests}
    for stored in failed:
        tests_of_run = tests.get(stored.run.id, ())
        yield from summary.failures_of(stored, tests_of_run, scope.waivers, scope.today)


def _trace_origins(
    connection: sa.Connection, groups: _Groups, failures: Sequence[Failure]
) -> Iterator[Failure]:
    """Yield the failures with their origins."""
    runs_by_id = {stored.run.id: stored.run for runs in groups.values() for stored in runs}
    for run_id, group in groupby(failures, key=lambda failure: failure.run):
        failures_of_run, run = list(group), runs_by_id[run_id]
        history = queries.history(connection, run.library, run.cell, run.verb, _HISTORY)
        names = [failure.name for failure in failures_of_run[:_TRACED]]
        sightings = queries.sightings(connection, history, names)
        run_sightings = [stored.sighting(stored.end.state) for stored in history]
        for failure in failures_of_run:
            is_step = failure.name.startswith("step:")
            relevant = run_sightings if is_step else sightings.get(failure.name, ())
            yield replace(failure, origin=summary.origin(relevant))


def _entries(
    connection: sa.Connection, groups: _Groups, failures: Sequence[Failure]
) -> Iterator[ReportEntry]:
    ids = [stored.run.id for runs in groups.values() for stored in runs]
    products = queries.stored_parts(connection, Product, ids)
    measurements = queries.stored_parts(connection, Measurement, ids)
    for place, runs in groups.items():
        # By path: shards and runs of several verbs create the same files.
        sizes = {product.path: product.size for product in _parts_of(runs, products)}
        values = [item.value for item in _parts_of(runs, measurements) if item.name == COVERAGE]
        yield ReportEntry(
            *place,
            runs,
            [item for item in failures if (item.library, item.cell) == place],
            size=sum(sizes.values()) if sizes else None,
            coverage=values[-1] if values else None,
        )


def _parts_of(runs: Iterable[StoredRun], parts: Mapping[str, Sequence[_T]]) -> Iterator[_T]:
    return (part for stored in runs for part in parts.get(stored.run.id, ()))


def _newly_broken(
    connection: sa.Connection, scope: Scope, failures: Sequence[Failure]
) -> tuple[Failure, ...]:
    if scope.since is None:
        return ()
    groups = _runs_in_scope(connection, scope, scope.since)
    runs = [stored for group in groups.values() for stored in group]
    places = {(item.library, item.cell) for item in failures}
    ids = [stored.run.id for stored in runs if (stored.run.library, stored.run.cell) in places]
    tests = queries.stored_parts(connection, TestOutcome, ids)
    before: dict[tuple[str, str, str], State] = {}
    for stored in runs:
        place = (stored.run.library, stored.run.cell)
        before[(*place, f"step:{stored.run.verb}")] = stored.end.state
        before |= {(*place, item.name): item.state for item in tests.get(stored.run.id, ())}
    return summary.newly_broken(before, failures)
