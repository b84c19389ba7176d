"""Queries of the store. Each takes an open connection and returns values.

Other programs may have written rows: invalid ones are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, TypeVar

import sqlalchemy as sa

from envmatrix.results.database import LEFT_OUT, LONGEST_TEXT, unpack_text
from envmatrix.results.records import ARGUMENTS, SINCE, End, Part, Revision, Run, check
from envmatrix.results.tables import PARTS, REMARKABLE, outcomes, runs
from envmatrix.sessions.outcomes import COUNTED, State, TestOutcome

_VERDICTS: Sequence[State] = ("passed", "flaky", "failed", "errored")
# Runs without arguments for the framework, which are comparable with others.
_COMPARABLE = runs.c.extent != ARGUMENTS
# The most runs of only affected tests that count beside whole ones.
_MOST_PARTIAL = 10_000
# The most characters of test output returned in all.
_MOST_OUTPUT = 32 << 20

_T = TypeVar("_T")
_Key = TypeVar("_Key")
_Part = TypeVar("_Part", bound=Part)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run in the store; `counts` are the numbers of its tests by state."""

    run: Run
    end: End
    counts: Mapping[str, int]

    def sighting(self, state: State) -> Sighting:
        return Sighting(self.run.id, self.run.revision, self.run.started, state)


@dataclass(frozen=True, slots=True)
class Sighting:
    """The state of a test, or of a whole run, in one run."""

    run: str
    revision: Revision
    started: float
    state: State


def latest(
    connection: sa.Connection, before: float | None = None, place: tuple[str, str] | None = None
) -> tuple[StoredRun, ...]:
    """Return the newest run of each library, cell, verb and shard, optionally of those that started
    before a moment or of one library and cell, and the later runs of only affected tests. Runs with
    arguments for the framework do not count."""
    restrictions = [] if before is None else [runs.c.started < before]
    restrictions += [] if place is None else _at(*place)
    key = (runs.c.library, runs.c.cell, runs.c.verb, runs.c.shard)
    newest = (
        sa.select(*key, sa.func.max(runs.c.started).label("started"))
        .where(runs.c.extent == "", *restrictions)
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
        .where(runs.c.extent == SINCE, is_later, *restrictions)
        .order_by(runs.c.started.desc(), runs.c.id)
    )
    whole_runs = _stored_runs(connection, usual.order_by(*key, runs.c.id))
    return (*whole_runs, *_stored_runs(connection, partial.limit(_MOST_PARTIAL)))


def places(connection: sa.Connection) -> tuple[tuple[str, str], ...]:
    """Return the libraries and cells that have runs."""
    query = sa.select(runs.c.library, runs.c.cell).distinct()
    rows = (tuple(row) for row in connection.execute(query))
    return tuple(row for row in rows if all(isinstance(name, str) for name in row))


def ids(connection: sa.Connection) -> tuple[str, ...]:
    """Return the ids of all runs."""
    run_ids = connection.scalars(sa.select(runs.c.id).order_by(runs.c.started.desc()))
    return tuple(run_id for run_id in run_ids if isinstance(run_id, str))


def run(connection: sa.Connection, run_id: str) -> StoredRun | None:
    return next(iter(_stored_runs(connection, sa.select(runs).where(runs.c.id == run_id))), None)


def _at(library: str, cell: str) -> list[sa.ColumnElement[bool]]:
    return [runs.c.library == library, runs.c.cell == cell]


def _stored_runs(connection: sa.Connection, query: sa.Select[Any]) -> tuple[StoredRun, ...]:
    rows = connection.execute(query)
    return tuple(stored for _, stored in _valid_rows(connection, runs, rows, _stored_run))


def history(
    connection: sa.Connection, library: str, cell: str, verb: str | None, limit: int
) -> tuple[StoredRun, ...]:
    """Return the newest runs of a library in a cell, newest first: all of them, or those of a verb
    without arguments for the framework."""
    of_verb = [] if verb is None else [runs.c.verb == verb, _COMPARABLE]
    query = (
        sa.select(runs)
        .where(*_at(library, cell), *of_verb)
        .order_by(runs.c.started.desc(), runs.c.id)
        .limit(limit)
    )
    return _stored_runs(connection, query)


def times(connection: sa.Connection, limit: int) -> Mapping[tuple[str, str, str], tuple[End, ...]]:
    """Return the ends of the newest runs of each library, cell and verb, without their messages;
    oldest first."""
    place = (runs.c.library, runs.c.cell, runs.c.verb)
    number = sa.func.row_number().over(partition_by=place, order_by=runs.c.started.desc())
    columns = (*place, runs.c.state, runs.c.seconds, number.label("number"))
    numbered = sa.select(*columns).where(runs.c.extent == "").subquery()
    query = sa.select(numbered).where(numbered.c.number <= limit).order_by(numbered.c.number.desc())
    ends = _valid_rows(connection, runs, connection.execute(query), _end)
    return grouped(((row.library, row.cell, row.verb), end) for row, end in ends)


def last_verdicts(connection: sa.Connection) -> tuple[StoredRun, ...]:
    """Return the last two whole runs of each library, cell, verb and shard that passed or failed;
    newest first."""
    place = (runs.c.library, runs.c.cell, runs.c.verb, runs.c.shard)
    newest_first = (runs.c.started.desc(), runs.c.id)
    number = sa.func.row_number().over(partition_by=place, order_by=newest_first)
    has_verdict = (runs.c.extent == "", runs.c.state.in_(_VERDICTS))
    numbered = sa.select(runs, number.label("number")).where(*has_verdict).subquery()
    query = sa.select(numbered).where(numbered.c.number <= 2)
    return _stored_runs(connection, query.order_by(numbered.c.started.desc(), numbered.c.id))


def stored_parts(
    connection: sa.Connection,
    kind: type[_Part],
    ids: Collection[str],
    *conditions: sa.ColumnElement[bool],
    with_output: bool = False,
) -> Mapping[str, tuple[_Part, ...]]:
    """Return the parts of a kind of each run, in their order: of tests and steps, optionally with
    their output."""
    table = PARTS[kind]
    packed = [column.name for column in table.c if isinstance(column.type, sa.LargeBinary)]
    columns = [column for column in table.c if with_output or column.name not in packed]
    query = sa.select(*columns).where(table.c.run.in_(ids), *conditions)
    ordered = query.order_by(table.c.run, table.c.position)
    room = _MOST_OUTPUT

    def part(row: sa.Row[Any]) -> _Part:
        nonlocal room
        outputs = dict.fromkeys(packed, "")
        for name in packed if with_output else ():
            outputs[name] = unpack_text(getattr(row, name), min(room, LONGEST_TEXT))
            room -= len(outputs[name])
        return _value(kind, row, **outputs)

    parts = _valid_rows(connection, table, connection.execute(ordered), part)
    return grouped((row.run, part) for row, part in parts)


def grouped(pairs: Iterable[tuple[_Key, _T]]) -> Mapping[_Key, tuple[_T, ...]]:
    """Return the values of each key, in their order."""
    groups: dict[_Key, list[_T]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return {key: tuple(values) for key, values in groups.items()}


def sightings(
    connection: sa.Connection, history: Sequence[StoredRun], names: Collection[str]
) -> Mapping[str, tuple[Sighting, ...]]:
    """Return the states of the named tests in each run of `history` that has them."""
    by_id = {stored.run.id: stored for stored in history}
    query = sa.select(outcomes.c.run, outcomes.c.name, outcomes.c.state).where(
        outcomes.c.name.in_(names), outcomes.c.run.in_(by_id)
    )
    tests = _valid_rows(connection, outcomes, connection.execute(query), _outcome_state)
    return grouped((row.name, by_id[row.run].sighting(test.state)) for row, test in tests)


# Library, cell, revision and name of a test.
_Place = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Flake:
    """A test whose result does not depend on the revision: how often it passed only on retry, and
    at how many revisions it both passed and failed."""

    library: str
    cell: str
    name: str
    retried: int
    contradicted: int


def flaky(connection: sa.Connection, since: float) -> tuple[Flake, ...]:
    """Return the flaky tests of the runs since a moment, worst first."""
    bad = (
        sa.select(runs.c.library, runs.c.cell, runs.c.revision, outcomes.c.name, outcomes.c.state)
        .join(outcomes, outcomes.c.run == runs.c.id)
        .where(runs.c.started >= since, _COMPARABLE, REMARKABLE)
        .distinct()
    )
    valid_rows = _valid_rows(connection, outcomes, connection.execute(bad), _placed_outcome)
    rows = [row for row, _ in valid_rows]
    retried = Counter((row.library, row.cell, row.name) for row in rows if row.state == "flaky")
    failed: set[_Place] = {
        (row.library, row.cell, row.revision, row.name)
        for row in rows
        if row.state != "flaky" and row.revision
    }
    again = _run_again(connection, since) if failed else set()
    passed = _passed_too(connection, {place for place in failed if place[:3] in again}, since)
    contradicted = Counter((library, cell, name) for library, cell, _, name in passed)
    flakes = [Flake(*key, retried[key], contradicted[key]) for key in {*retried, *contradicted}]
    flakes.sort(key=lambda flake: (-flake.retried - flake.contradicted, astuple(flake)))
    return tuple(flakes)


def _run_again(connection: sa.Connection, since: float) -> set[tuple[str, str, str]]:
    """Return library, cell and revision of repeated runs: only their tests can be contradictory."""
    columns = (runs.c.library, runs.c.cell, runs.c.revision)
    query = sa.select(*columns).where(runs.c.started >= since, _COMPARABLE).group_by(*columns)
    rows = connection.execute(query.having(sa.func.count() > 1))
    return {(library, cell, revision) for library, cell, revision in rows}


def _passed_too(connection: sa.Connection, failed: set[_Place], since: float) -> set[_Place]:
    """Return those of `failed` that passed as well, at the same revision."""
    revisions = sorted({revision for _, _, revision, _ in failed})
    names = sorted({name for *_, name in failed})
    passed: set[_Place] = set()
    for start in range(0, len(names), 500):
        query = (
            sa.select(runs.c.library, runs.c.cell, runs.c.revision, outcomes.c.name)
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
        rows = connection.execute(query)
        passed |= {(library, cell, revision, name) for library, cell, revision, name in rows}
    return passed & failed


def durations(
    connection: sa.Connection, library: str, cell: str, before: float
) -> Mapping[str, float]:
    """Return the last duration of each test of a library before a moment, in seconds: in that cell,
    or in any cell if it has no run with tests."""
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
            tests = stored_parts(connection, TestOutcome, newest_first)
            oldest_first = (test for key in reversed(newest_first) for test in tests.get(key, ()))
            return {test.name: test.seconds for test in oldest_first if test.state != "skipped"}
    return {}


def _outcome_state(row: sa.Row[Any]) -> TestOutcome:
    return check(TestOutcome(row.name, row.state, 0.0))


def _placed_outcome(row: sa.Row[Any]) -> TestOutcome:
    _check_texts(row.library, row.cell, row.revision)
    return _outcome_state(row)


def _end(row: sa.Row[Any]) -> End:
    _check_texts(row.library, row.cell, row.verb)
    return check(End(row.state, row.seconds))


def _stored_run(row: sa.Row[Any]) -> StoredRun:
    return StoredRun(
        _value(Run, row, revision=Revision(row.revision, row.branch, row.committed)),
        _value(End, row),
        {state: int(getattr(row, state)) for state in COUNTED if getattr(row, state)},
    )


def _value(kind: type[_Part], row: sa.Row[Any], **others: Any) -> _Part:
    """Return the value of a row, whose columns are the fields that are not in `others`."""
    names = (field.name for field in fields(kind) if field.name not in others)
    return check(kind(**{name: getattr(row, name) for name in names}, **others))


def _valid_rows(
    connection: sa.Connection, table: sa.Table, rows: Iterable[Any], make: Callable[[Any], _T]
) -> Iterator[tuple[Any, _T]]:
    """Yield each valid row with the value that `make` returns for it; count invalid rows."""
    for row in rows:
        try:
            yield row, make(row)
        except (AttributeError, OverflowError, TypeError, ValueError):
            # InvalidRecord is a ValueError.
            connection.info.setdefault(LEFT_OUT, Counter())[table.name] += 1


def _check_texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a name is not text")
