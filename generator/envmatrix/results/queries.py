"""What the store is asked. Each question takes an open connection and returns values.

Rows may be by others than this tool: those that are invalid are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from envmatrix.results.database import LONGEST_TEXT, unpacked
from envmatrix.results.records import ARGUMENTS, SINCE, End, Product, Revision, Run, check
from envmatrix.results.rows import check_texts, valid
from envmatrix.results.tables import (
    REMARKABLE,
    findings,
    measurements,
    outcomes,
    products,
    runs,
    steps,
)
from envmatrix.sessions.failures import Cause
from envmatrix.sessions.findings import Finding
from envmatrix.sessions.outcomes import COUNTED, Measurement, State, Step, TestOutcome

# A run without arguments of its own, which tells something of others.
_COMPARABLE = runs.c.extent != ARGUMENTS
# So many runs of what a change reaches count beside whole ones.
_MOST_PARTIAL = 10_000
# What tests printed is returned up to this many characters in all.
_MOST_OUTPUT = 32 << 20

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Kept:
    """A run as the store has it; `counts` are its tests by state."""

    run: Run
    end: End
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a test, or a whole run, came to in one run."""

    run: str
    revision: Revision
    started: float
    state: State


def latest(
    connection: sa.Connection, before: float | None = None, *conditions: sa.ColumnElement[bool]
) -> tuple[Kept, ...]:
    """The newest run of each library, cell, verb and shard, or the newest that began before a
    moment; and what ran since, of tests that a change reaches. Runs with arguments of their own
    tell nothing of the others."""
    wanted = conditions if before is None else (*conditions, runs.c.started < before)
    key = (runs.c.library, runs.c.cell, runs.c.verb, runs.c.shard)
    newest = (
        sa.select(*key, sa.func.max(runs.c.started).label("started"))
        .where(runs.c.extent == "", *wanted)
        .group_by(*key)
        .subquery()
    )
    same = [runs.c[column.name] == newest.c[column.name] for column in (*key, runs.c.started)]
    usual = sa.select(runs).join(newest, sa.and_(*same)).where(runs.c.extent == "")
    of_place = [newest.c[column.name] == column for column in key[:-1]]
    is_later = sa.or_(newest.c.started.is_(None), runs.c.started > newest.c.started)
    partial = (
        sa.select(runs)
        .outerjoin(newest, sa.and_(*of_place, newest.c.shard == ""))
        .where(runs.c.extent == SINCE, is_later, *wanted)
        .order_by(runs.c.started.desc(), runs.c.id)
    )
    found = _all_kept(connection, usual.order_by(*key, runs.c.id))
    return (*found, *_all_kept(connection, partial.limit(_MOST_PARTIAL)))


def latest_of(connection: sa.Connection, library: str, cell: str) -> tuple[Kept, ...]:
    """The newest run of each verb and shard of a library in a cell."""
    return latest(connection, None, runs.c.library == library, runs.c.cell == cell)


def places(connection: sa.Connection) -> tuple[tuple[str, str], ...]:
    """The libraries and cells that have runs."""
    query = sa.select(runs.c.library, runs.c.cell).distinct()
    found = (tuple(row) for row in connection.execute(query))
    return tuple(row for row in found if all(isinstance(name, str) for name in row))


def ids(connection: sa.Connection) -> tuple[str, ...]:
    """The ids of all runs."""
    found = connection.scalars(sa.select(runs.c.id).order_by(runs.c.started.desc()))
    return tuple(its for its in found if isinstance(its, str))


def run(connection: sa.Connection, run_id: str) -> Kept | None:
    return next(iter(_all_kept(connection, sa.select(runs).where(runs.c.id == run_id))), None)


def _all_kept(connection: sa.Connection, query: sa.Select[Any]) -> tuple[Kept, ...]:
    rows = connection.execute(query)
    return tuple(kept for _, kept in valid(connection, runs, rows, _kept))


def history(
    connection: sa.Connection, library: str, cell: str, verb: str | None, limit: int
) -> tuple[Kept, ...]:
    """The newest runs of a library in a cell, the newest first: all of them, or those of a verb
    without arguments of their own, which tell nothing of the others."""
    of_verb = [] if verb is None else [runs.c.verb == verb, _COMPARABLE]
    query = (
        sa.select(runs)
        .where(runs.c.library == library, runs.c.cell == cell, *of_verb)
        .order_by(runs.c.started.desc(), runs.c.id)
        .limit(limit)
    )
    return _all_kept(connection, query)


def times(connection: sa.Connection, limit: int) -> Mapping[tuple[str, str, str], tuple[End, ...]]:
    """How the newest runs of each library, cell and verb ended, without what they said; the oldest
    of them first."""
    place = (runs.c.library, runs.c.cell, runs.c.verb)
    number = sa.func.row_number().over(partition_by=place, order_by=runs.c.started.desc())
    columns = (*place, runs.c.state, runs.c.seconds, number.label("number"))
    numbered = sa.select(*columns).where(runs.c.extent == "").subquery()
    query = sa.select(numbered).where(numbered.c.number <= limit).order_by(numbered.c.number.desc())
    found: dict[tuple[str, str, str], list[End]] = defaultdict(list)
    rows = connection.execute(query)
    for row, end in valid(connection, runs, rows, _end):
        found[row.library, row.cell, row.verb].append(end)
    return {key: tuple(rows) for key, rows in found.items()}


def outcomes_of(
    connection: sa.Connection,
    ids: Collection[str],
    *,
    only_not_passed: bool = False,
    with_output: bool = False,
    limit: int | None = None,
) -> Mapping[str, tuple[TestOutcome, ...]]:
    """The tests of runs, in the order that they were told; what they printed where that is asked
    for."""
    columns = [its for its in outcomes.c if with_output or its is not outcomes.c.output]
    query = sa.select(*columns).where(outcomes.c.run.in_(ids))
    if only_not_passed:
        query = query.where(outcomes.c.state != "passed")
    ordered = query.order_by(outcomes.c.run, outcomes.c.position).limit(limit)
    room = _MOST_OUTPUT

    def outcome(row: sa.Row[Any]) -> TestOutcome:
        nonlocal room
        output = unpacked(row.output, min(room, LONGEST_TEXT)) if with_output else ""
        room -= len(output)
        words = (row.name, row.state, row.seconds, row.message, row.attempts, output)
        return check(TestOutcome(*words))

    return _by_run(valid(connection, outcomes, connection.execute(ordered), outcome))


def steps_of(connection: sa.Connection, run_id: str) -> tuple[Step, ...]:
    query = sa.select(steps).where(steps.c.run == run_id).order_by(steps.c.position)

    def step(row: sa.Row[Any]) -> Step:
        return check(Step(row.name, row.status, row.seconds, unpacked(row.log)))

    return tuple(its for _, its in valid(connection, steps, connection.execute(query), step))


def measurements_of(
    connection: sa.Connection, ids: Collection[str]
) -> Mapping[str, tuple[Measurement, ...]]:
    query = sa.select(measurements).where(measurements.c.run.in_(ids))
    rows = connection.execute(query.order_by(measurements.c.run, measurements.c.position))
    return _by_run(valid(connection, measurements, rows, _measurement))


def products_of(
    connection: sa.Connection, ids: Collection[str]
) -> Mapping[str, tuple[Product, ...]]:
    query = sa.select(products).where(products.c.run.in_(ids))
    rows = connection.execute(query.order_by(products.c.run, products.c.position))
    return _by_run(valid(connection, products, rows, _product))


def _by_run(parts: Iterable[tuple[sa.Row[Any], _Part]]) -> Mapping[str, tuple[_Part, ...]]:
    """The parts of each run, in their order."""
    found: dict[str, list[_Part]] = defaultdict(list)
    for row, part in parts:
        found[row.run].append(part)
    return {run_id: tuple(parts) for run_id, parts in found.items()}


def findings_of(connection: sa.Connection, run_id: str) -> tuple[Finding, ...]:
    """What analysers said in a run, what is new first."""
    query = (
        sa.select(findings)
        .where(findings.c.run == run_id)
        .order_by(findings.c.is_new.desc(), findings.c.position)
    )
    rows = connection.execute(query)
    return tuple(its for _, its in valid(connection, findings, rows, _finding))


def sightings(
    connection: sa.Connection, history: Sequence[Kept], names: Collection[str]
) -> Mapping[str, tuple[Sighting, ...]]:
    """What the tests of these names came to in each of those runs that had them."""
    by_id = {kept.run.id: kept for kept in history}
    query = sa.select(outcomes.c.run, outcomes.c.name, outcomes.c.state).where(
        outcomes.c.name.in_(names), outcomes.c.run.in_(by_id)
    )
    found: dict[str, list[Sighting]] = defaultdict(list)
    rows = connection.execute(query)
    for row, outcome in valid(connection, outcomes, rows, _seen):
        found[row.name].append(_sighting(by_id[row.run], outcome.state))
    return {name: tuple(rows) for name, rows in found.items()}


def sightings_of_runs(history: Sequence[Kept]) -> tuple[Sighting, ...]:
    return tuple(_sighting(kept, kept.end.state) for kept in history)


@dataclass(frozen=True, slots=True)
class Flake:
    """A test whose result says nothing of its revision: how often it passed only when tried again,
    and how many revisions it both passed and failed at."""

    library: str
    cell: str
    name: str
    retried: int
    contradicted: int


def flaky(connection: sa.Connection, since: float) -> tuple[Flake, ...]:
    """Flaky tests of the runs since a moment, the worst first."""
    bad = (
        sa.select(runs.c.library, runs.c.cell, runs.c.revision, outcomes.c.name, outcomes.c.state)
        .join(outcomes, outcomes.c.run == runs.c.id)
        .where(runs.c.started >= since, _COMPARABLE, REMARKABLE)
        .distinct()
    )
    found_bad = valid(connection, outcomes, connection.execute(bad), _placed)
    rows = [row for row, _ in found_bad]
    retried: dict[tuple[str, str, str], int] = defaultdict(int)
    failed = set()
    for row in rows:
        key = (row.library, row.cell, row.name)
        retried[key] += row.state == "flaky"
        if row.state != "flaky" and row.revision:
            failed.add((row.library, row.cell, row.name, row.revision))
    again = _run_again(connection, since) if failed else set()
    passed = _passed_too(connection, {its for its in failed if _run_of(its) in again}, since)
    contradicted = Counter(place[:3] for place in passed)
    found = (Flake(*key, retried[key], contradicted[key]) for key in {*retried, *contradicted})
    worst = sorted(
        (flake for flake in found if flake.retried or flake.contradicted),
        key=lambda its: (-its.retried - its.contradicted, its.library, its.cell, its.name),
    )
    return tuple(worst)


_Place = tuple[str, str, str, str]


def _run_of(place: _Place) -> tuple[str, str, str]:
    """Library, cell and revision."""
    return place[0], place[1], place[3]


def _run_again(connection: sa.Connection, since: float) -> set[tuple[str, str, str]]:
    """What ran more than once: only that can contradict itself."""
    what = (runs.c.library, runs.c.cell, runs.c.revision)
    query = sa.select(*what).where(runs.c.started >= since, _COMPARABLE).group_by(*what)
    rows = connection.execute(query.having(sa.func.count() > 1))
    return {(library, cell, revision) for library, cell, revision in rows}


def _passed_too(connection: sa.Connection, failed: Collection[_Place], since: float) -> set[_Place]:
    """Those of `failed` that passed as well, at the same revision."""
    if not failed:
        return set()
    names = sorted({place[2] for place in failed})
    revisions = sorted({place[3] for place in failed})
    found: set[_Place] = set()
    for start in range(0, len(names), 500):
        query = (
            sa.select(runs.c.library, runs.c.cell, outcomes.c.name, runs.c.revision)
            .join(outcomes, outcomes.c.run == runs.c.id)
            .where(
                runs.c.started >= since,
                _COMPARABLE,
                runs.c.revision.in_(revisions),
                outcomes.c.name.in_(names[start : start + 500]),
                outcomes.c.state == "passed",
            )
            .distinct()
        )
        found |= {cast("_Place", tuple(row)) for row in connection.execute(query)}
    return found & set(failed)


def durations(
    connection: sa.Connection, library: str, cell: str, before: float
) -> Mapping[str, float]:
    """How long each test of a library took when last seen before a moment, in seconds: in that
    cell, or else in any that has the newest run with tests."""
    for condition in ([runs.c.cell == cell], []):
        chosen = (
            sa.select(runs.c.id)
            .where(
                runs.c.library == library,
                runs.c.started < before,
                _COMPARABLE,
                runs.c.passed + runs.c.flaky + runs.c.failed > 0,
                *condition,
            )
            .order_by(runs.c.started.desc())
            .limit(20)
        )
        newest_first = [row.id for row in connection.execute(chosen)]
        if newest_first:
            found = outcomes_of(connection, newest_first)
            told = [its for run_id in reversed(newest_first) for its in found.get(run_id, ())]
            return {its.name: its.seconds for its in told if its.state != "skipped"}
    return {}


def _sighting(kept: Kept, state: State) -> Sighting:
    return Sighting(kept.run.id, kept.run.revision, kept.run.started, state)


def _seen(row: sa.Row[Any]) -> TestOutcome:
    return check(TestOutcome(row.name, row.state, 0.0))


def _placed(row: sa.Row[Any]) -> TestOutcome:
    check_texts(row.library, row.cell, row.revision)
    return _seen(row)


def _end(row: sa.Row[Any]) -> End:
    check_texts(row.library, row.cell, row.verb)
    return check(End(row.state, row.seconds))


def _measurement(row: sa.Row[Any]) -> Measurement:
    return check(Measurement(row.name, row.value, row.unit, row.direction))


def _product(row: sa.Row[Any]) -> Product:
    return check(Product(row.path, row.machine, row.size, row.sha256))


def _finding(row: sa.Row[Any]) -> Finding:
    words = (row.tool, row.rule, row.message, row.file, row.line, row.level)
    return check(Finding(*words, bool(row.is_new)))


def _kept(row: sa.Row[Any]) -> Kept:
    run = Run(
        row.id,
        row.library,
        row.cell,
        row.verb,
        row.started,
        Revision(row.revision, row.branch, row.committed),
        row.image,
        row.digest,
        row.host,
        row.shard,
        row.extent,
    )
    return Kept(
        check(run),
        check(End(row.state, row.seconds, cast("Cause | None", row.cause), row.message)),
        {state: int(getattr(row, state)) for state in COUNTED if getattr(row, state)},
    )
