"""Asks the store all that one report needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import TypeAlias

import sqlalchemy as sa

from envmatrix.results import queries, summary
from envmatrix.results.queries import Kept
from envmatrix.results.records import BAD, Product
from envmatrix.results.rows import left_out
from envmatrix.results.summary import Entry, Failure, Report
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.analysis import COVERAGE
from envmatrix.sessions.outcomes import State, TestOutcome

_HISTORY = 200
_TIMES = 30
# Of how many failures of a library in a cell it is looked up since when.
_TRACED = 200
_FLAKY_DAYS = 30
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Scope:
    """What a report is about; all libraries and cells where those are None. `now` is in seconds
    since 1970, as is `since`, whose name is `since_name`."""

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
    """The report of the newest runs."""
    newest = _in_scope(summary.newest(queries.latest(connection)), scope)
    ids = [kept.run.id for runs in newest.values() for kept in runs]
    groups, tests = _layered(connection, newest)
    failures = tuple(_failures(connection, groups, tests, scope))
    traced = tuple(_traced(connection, failures))
    used = {failure.waiver for failure in failures}
    times = queries.times(connection, _TIMES)
    report = Report(
        entries=tuple(_entries(connection, groups, failures, ids)),
        failures=traced,
        flaky=tuple(
            flake
            for flake in queries.flaky(connection, scope.now - _FLAKY_DAYS * _DAY_SECONDS)
            if scope.has(flake.library, flake.cell)
        ),
        slower=tuple(
            found
            for (library, cell, verb), rows in sorted(times.items())
            if (library, cell) in groups and (found := summary.slower(library, cell, verb, rows))
        ),
        expired=tuple(its for its in scope.waivers if its.has_expired(scope.today)),
        unused=tuple(
            its for its in scope.waivers if its not in used and not its.has_expired(scope.today)
        ),
        broke=_broke(connection, scope, traced),
        since=scope.since_name,
        waiting=waiting,
        times={
            key: tuple(its.seconds for its in times.get((*key, runs[-1].run.verb), ()))
            for key, runs in groups.items()
        },
    )
    return replace(report, left_out=dict(left_out(connection)))


def _in_scope(
    groups: Mapping[tuple[str, str], tuple[Kept, ...]], scope: Scope
) -> Mapping[tuple[str, str], tuple[Kept, ...]]:
    return {key: runs for key, runs in groups.items() if scope.has(*key)}


_Groups: TypeAlias = Mapping[tuple[str, str], tuple[Kept, ...]]
_Tests: TypeAlias = Mapping[str, Sequence[TestOutcome]]


def _layered(connection: sa.Connection, groups: _Groups) -> tuple[_Groups, _Tests]:
    """The runs by what each of their tests came to last, and these tests, where parts of them ran
    after all; the others are as they were."""
    layers = {key: runs for key, runs in groups.items() if summary.is_layered(runs)}
    ids = [kept.run.id for runs in layers.values() for kept in runs]
    tests = queries.outcomes_of(connection, ids) if ids else {}
    found = dict(groups)
    own: dict[str, Sequence[TestOutcome]] = {}
    for key, runs in layers.items():
        found[key], last = summary.layered(runs, tests)
        own |= last
    return found, own


def _failures(
    connection: sa.Connection, groups: _Groups, known: _Tests, scope: Scope
) -> Iterator[Failure]:
    """`known` are tests that need not be asked for."""
    bad = [kept for runs in groups.values() for kept in runs if kept.end.state in BAD]
    ids = [its.run.id for its in bad if its.run.id not in known]
    tests = {**queries.outcomes_of(connection, ids, only_not_passed=True), **known}
    for kept in bad:
        found = tests.get(kept.run.id, ())
        yield from summary.failures_of(kept, found, scope.waivers, scope.today)


def _traced(connection: sa.Connection, failures: Sequence[Failure]) -> Iterator[Failure]:
    """The failures, with since when each is there."""
    for run, group in groupby(failures, key=lambda failure: failure.run):
        found = list(group)
        kept = queries.run(connection, run)
        assert kept is not None  # noqa: S101 -- the failures are its
        history = queries.history(
            connection, kept.run.library, kept.run.cell, kept.run.verb, _HISTORY
        )
        names = [failure.name for failure in found[:_TRACED]]
        seen = queries.sightings(connection, history, names)
        of_runs = queries.sightings_of_runs(history)
        for failure in found:
            known = of_runs if failure.name.startswith("step:") else seen.get(failure.name, ())
            yield replace(failure, origin=summary.origin(known))


def _entries(
    connection: sa.Connection,
    groups: Mapping[tuple[str, str], tuple[Kept, ...]],
    failures: Sequence[Failure],
    ids: Sequence[str],
) -> Iterator[Entry]:
    made = queries.products_of(connection, ids)
    measured = queries.measurements_of(connection, ids)
    for (library, cell), runs in groups.items():
        own = [its for its in failures if (its.library, its.cell) == (library, cell)]
        sizes = _sizes(made.get(kept.run.id, ()) for kept in runs).values()
        covered = [
            its.value
            for kept in runs
            for its in measured.get(kept.run.id, ())
            if its.name == COVERAGE
        ]
        yield summary.entry(
            runs,
            own,
            size=sum(sizes) if sizes else None,
            coverage=covered[-1] if covered else None,
        )


def _sizes(made: Iterable[Sequence[Product]]) -> Mapping[str, int]:
    """Path -> bytes: shards and runs of verbs make the same files."""
    return {product.path: product.size for products in made for product in products}


def _broke(
    connection: sa.Connection, scope: Scope, failures: Sequence[Failure]
) -> tuple[Failure, ...]:
    if scope.since is None:
        return ()
    groups = _in_scope(summary.newest(queries.latest(connection, scope.since)), scope)
    runs = [kept for found in groups.values() for kept in found]
    wanted = {(its.library, its.cell) for its in failures}
    ids = [kept.run.id for kept in runs if (kept.run.library, kept.run.cell) in wanted]
    tests = queries.outcomes_of(connection, ids)
    before: dict[tuple[str, str, str], State] = {}
    for kept in runs:
        place = (kept.run.library, kept.run.cell)
        before[(*place, f"step:{kept.run.verb}")] = kept.end.state
        before |= {(*place, its.name): its.state for its in tests.get(kept.run.id, ())}
    return summary.broken(before, failures)
