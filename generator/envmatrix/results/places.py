"""Summaries of places, libraries in cells: stored, and computed where no stored one is current.

Triggers of the store remove the summary of a place as soon as any program changes its runs, so a
stored one is current. Whoever stores runs computes those that are missing; a reader computes them
without storing them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa

from envmatrix.results import queries, summary
from envmatrix.results.database import LEFT_OUT, Database
from envmatrix.results.encoding import decode, encode
from envmatrix.results.queries import Place, StoredRun
from envmatrix.results.records import BAD, InvalidRecord
from envmatrix.results.summary import FORMAT, Failure, PlaceSummary
from envmatrix.results.tables import outcomes, places
from envmatrix.sessions.outcomes import Measurement, TestOutcome
from envmatrix.sessions.products import Product

# How long before a report a test was flaky that it shows, in seconds.
FLAKY_SECONDS = 30 * 86_400.0

_HISTORY = 200
_TIMES = 30
# The most failures of a library in a cell whose origin is looked up.
_TRACED = 200
# The most places that are computed at once.
_AT_ONCE = 100
# The largest summary that is stored, in characters.
_LARGEST = 4 << 20

_T = TypeVar("_T")
_Groups: TypeAlias = Mapping[Place, tuple[StoredRun, ...]]
_Tests: TypeAlias = Mapping[str, Sequence[TestOutcome]]


def summaries(
    connection: sa.Connection, since: float, is_selected: Callable[[str, str], bool]
) -> tuple[PlaceSummary, ...]:
    """Return the summaries of the selected places, in their order, with the revisions at which
    tests were flaky since a moment, and perhaps before."""
    current: list[PlaceSummary] = []
    outdated: list[Place] = []
    without_row = set(queries.places(connection))  # another program may have removed it
    for place, row in queries.place_rows(connection):
        without_row.discard(place)
        if is_selected(*place):
            stored = _stored_summary(place, row)
            if stored is None or stored.since > since:
                outdated.append(place)
            else:
                current.append(stored)
    outdated += [place for place in sorted(without_row) if is_selected(*place)]
    for start in range(0, len(outdated), _AT_ONCE):
        current += _compute(connection, outdated[start : start + _AT_ONCE], since)
    return tuple(sorted(current, key=lambda place: (place.library, place.cell)))


def _stored_summary(place: Place, row: sa.Row[Any]) -> PlaceSummary | None:
    """Return the summary in the row of a place; None if it has no valid one, or one that another
    program wrote or that is of another version."""
    if not isinstance(row.summary, str) or row.format != FORMAT:
        return None
    seal, _, text = row.summary.partition(" ")
    try:
        if seal != _seal(place, row.version, text):
            return None
        return decode(PlaceSummary, text)
    except InvalidRecord:
        return None


def _seal(place: Place, version: int, text: str) -> str:
    """Return the digest of the encoded summary of a place. It detects changes by programs that do
    not compute it, not those that do."""
    content = "\0".join((*place, str(version), text))
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()


def refresh(database: Database, now: float) -> None:
    """Store the summaries of places that have none; `now` is in seconds since 1970."""
    is_outdated = sa.or_(places.c.summary.is_(None), places.c.format != FORMAT)
    with database.reading() as connection:
        # Before all that is computed: a change meanwhile increments the version.
        rows_by_place = queries.place_rows(connection, is_outdated)
        versions = {place: row.version for place, row in rows_by_place}
        outdated = list(versions)
        computed: list[PlaceSummary] = []
        for start in range(0, len(outdated), _AT_ONCE):
            computed += _compute_valid(connection, outdated[start : start + _AT_ONCE], now)
    # In the order in which `Database.add` locks them.
    ordered = sorted(computed, key=lambda place: (place.library, place.cell))
    rows = [row for place in ordered if len((row := _row(place, versions))["text"]) <= _LARGEST]
    if rows:
        change = sa.update(places).where(
            places.c.library == sa.bindparam("at_library"),
            places.c.cell == sa.bindparam("at_cell"),
            places.c.version == sa.bindparam("at_version"),
        )
        with database.writing() as connection:
            connection.execute(change.values(format=FORMAT, summary=sa.bindparam("text")), rows)


def _row(item: PlaceSummary, versions: Mapping[Place, int]) -> dict[str, Any]:
    place, text = (item.library, item.cell), encode(item)
    return {
        "at_library": item.library,
        "at_cell": item.cell,
        "at_version": versions[place],
        "text": f"{_seal(place, versions[place], text)} {text}",
    }


def _compute_valid(
    connection: sa.Connection, group: Sequence[Place], now: float
) -> Sequence[PlaceSummary]:
    """Return the summaries of the places without invalid rows: reports count these rows."""
    connection.info.pop(LEFT_OUT, None)
    computed = _compute(connection, group, now - FLAKY_SECONDS)
    if not connection.info.get(LEFT_OUT):
        return computed
    if len(group) == 1:
        return ()
    return [item for place in group for item in _compute_valid(connection, [place], now)]


def _compute(
    connection: sa.Connection, group: Sequence[Place], since: float
) -> Sequence[PlaceSummary]:
    """Return the summaries of places."""
    newest = summary.newest_runs(queries.latest(connection, places=group))
    runs, tests = _layer_groups(connection, newest)
    failures = queries.grouped(
        ((failure.library, failure.cell), failure)
        for failure in _trace_origins(connection, runs, _failures(connection, runs, tests))
    )
    ids = [stored.run.id for runs_of_place in runs.values() for stored in runs_of_place]
    products = queries.stored_parts(connection, Product, ids)
    measurements = queries.stored_parts(connection, Measurement, ids)
    flaky = queries.flaky_revisions(connection, group, since)
    times = queries.times(connection, group, _TIMES)
    return [
        summary.summarize(
            PlaceSummary(
                *place,
                since,
                runs.get(place, ()),
                failures.get(place, ()),
                flaky=flaky.get(place, ()),
            ),
            times.get(place, {}),
            tuple(_parts_of(runs.get(place, ()), products)),
            tuple(_parts_of(runs.get(place, ()), measurements)),
        )
        for place in group
    ]


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
    connection: sa.Connection, groups: _Groups, layered_tests: _Tests
) -> Iterator[Failure]:
    """Yield the failures of the runs; `layered_tests` are outcomes that need no query."""
    failed = [stored for runs in groups.values() for stored in runs if stored.end.state in BAD]
    ids = [stored.run.id for stored in failed if stored.run.id not in layered_tests]
    is_not_passed = outcomes.c.state != "passed"
    tests = {**queries.stored_parts(connection, TestOutcome, ids, is_not_passed), **layered_tests}
    for stored in failed:
        tests_of_run = tests.get(stored.run.id, ())
        yield from summary.failures_of(stored, tests_of_run)


def _trace_origins(
    connection: sa.Connection, groups: _Groups, failures: Iterable[Failure]
) -> Iterator[Failure]:
    """Yield the failures with their origins."""
    runs_by_id = {stored.run.id: stored.run for runs in groups.values() for stored in runs}
    for run_id, group in groupby(failures, key=lambda failure: failure.run):
        failures_of_run, run = list(group), runs_by_id[run_id]
        history = queries.history(connection, run.library, run.cell, run.verb, _HISTORY, run.part)
        names = [failure.name for failure in failures_of_run[:_TRACED]]
        sightings = queries.sightings(connection, history, names)
        run_sightings = [stored.sighting(stored.end.state) for stored in history]
        for failure in failures_of_run:
            is_step = failure.name.startswith("step:")
            relevant = run_sightings if is_step else sightings.get(failure.name, ())
            yield replace(failure, origin=summary.origin(relevant))


def _parts_of(runs: Iterable[StoredRun], parts: Mapping[str, Sequence[_T]]) -> Iterator[_T]:
    return (part for stored in runs for part in parts.get(stored.run.id, ()))
