"""Queries of the store. Each takes an open connection and returns values.

Other programs may have written rows: invalid ones are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import sqlalchemy as sa

from envmatrix.records import dataclass
from envmatrix.results import tables
from envmatrix.results.database import LEFT_OUT, LONGEST_TEXT, unpack_text
from envmatrix.results.records import ARGUMENTS, SINCE, End, Part, Revision, Run, check
from envmatrix.results.tables import PARTS, REMARKABLE, outcomes, runs
from envmatrix.sessions.outcomes import COUNTED, State, Step, TestOutcome
from envmatrix.vcs.git import CHANGED

_VERDICTS: Sequence[State] = ("passed", "flaky", "failed", "errored")
_REMARKABLE = frozenset(COUNTED) - {"passed", "skipped"}
# Runs without arguments for the framework, which are comparable with others.
_COMPARABLE = runs.c.extent != ARGUMENTS
# The most runs of only affected tests that count beside whole ones of a verb.
_MOST_PARTIAL = 1_000
# The most runs in one condition.
_AT_ONCE = 500
# The most characters of test output returned in all.
_MOST_OUTPUT = 32 << 20

# A library and a cell.
Place: TypeAlias = tuple[str, str]

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
    """The state of a test, or of a whole run, in one run, named by its id."""

    run: str
    revision: Revision
    started: float
    state: State


def latest(
    connection: sa.Connection,
    before: float | None = None,
    places: Collection[Place] | None = None,
) -> tuple[StoredRun, ...]:
    """Return the newest run of each library, cell, verb, part and shard, optionally of those that
    started before a moment or of some places, and the later runs of only affected tests. Runs with
    arguments for the framework do not count."""
    restrictions = [] if before is None else [runs.c.started < before]
    restrictions += [] if places is None else [_at_any(places)]
    key = (runs.c.library, runs.c.cell, runs.c.verb, runs.c.part, runs.c.shard)
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
    newest_first = (runs.c.started.desc(), runs.c.id)
    number = sa.func.row_number().over(partition_by=key[:-1], order_by=newest_first)
    partial = (
        sa.select(runs, number.label("number"))
        .outerjoin(newest, sa.and_(*of_place, newest.c.shard == ""))
        .where(runs.c.extent == SINCE, is_later, *restrictions)
        .subquery()
    )
    last = sa.select(partial).where(partial.c.number <= _MOST_PARTIAL)
    whole_runs = _stored_runs(connection, usual.order_by(*key, runs.c.id))
    partial_runs = _stored_runs(connection, last.order_by(partial.c.started.desc(), partial.c.id))
    return tuple(_consistent(connection, (*whole_runs, *partial_runs)))


def _consistent(connection: sa.Connection, stored: Sequence[StoredRun]) -> Iterator[StoredRun]:
    """Yield the runs that have as many flaky, failed and errored tests as they counted; note the
    others as invalid. Tests in none of all states are invalid themselves."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for start in range(0, len(stored), _AT_ONCE):
        ids = [row.run.id for row in stored[start : start + _AT_ONCE]]
        columns = (outcomes.c.run, outcomes.c.state)
        query = (
            sa.select(*columns, sa.func.count())
            .where(outcomes.c.run.in_(ids), REMARKABLE)
            .group_by(*columns)
        )
        for run_id, state, count in connection.execute(query):
            counts[run_id][state] = count
    for row in stored:
        counted = {state: row.counts[state] for state in _REMARKABLE if state in row.counts}
        of_tests = counts[row.run.id]
        if counted == of_tests or not of_tests.keys() <= _REMARKABLE:
            yield row
        else:
            _leave_out(connection, runs, (row.run.id,))


def places(connection: sa.Connection) -> tuple[Place, ...]:
    """Return the libraries and cells that have runs."""
    return _places(connection)


def counted_places(connection: sa.Connection) -> tuple[Place, ...]:
    """Return the libraries and cells that have runs without arguments for the framework."""
    return _places(connection, _COMPARABLE)


def _places(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[Place, ...]:
    query = sa.select(runs.c.library, runs.c.cell).where(*conditions).distinct()
    rows = (tuple(row) for row in connection.execute(query))
    return tuple(row for row in rows if all(isinstance(name, str) for name in row))


def place_rows(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool]
) -> Iterator[tuple[Place, sa.Row[Any]]]:
    """Yield the places in their order, with their rows."""
    columns = tables.places.c
    query = sa.select(tables.places).where(*conditions).order_by(columns.library, columns.cell)
    rows = _valid_rows(connection, tables.places, connection.execute(query), _place)
    return ((place, row) for row, place in rows)


def ids(connection: sa.Connection) -> tuple[str, ...]:
    """Return the ids of all runs."""
    run_ids = connection.scalars(sa.select(runs.c.id).order_by(runs.c.started.desc()))
    return tuple(run_id for run_id in run_ids if isinstance(run_id, str))


def run(connection: sa.Connection, run_id: str) -> StoredRun | None:
    return next(iter(_stored_runs(connection, sa.select(runs).where(runs.c.id == run_id))), None)


def _at_any(places: Collection[Place]) -> sa.ColumnElement[bool]:
    """Return the condition for runs of these places. The names alone let SQLite use an index."""
    return sa.and_(
        runs.c.library.in_({library for library, _ in places}),
        runs.c.cell.in_({cell for _, cell in places}),
        sa.tuple_(runs.c.library, runs.c.cell).in_(places),
    )


def _at(library: str, cell: str) -> list[sa.ColumnElement[bool]]:
    return [runs.c.library == library, runs.c.cell == cell]


def _stored_runs(connection: sa.Connection, query: sa.Select[Any]) -> tuple[StoredRun, ...]:
    rows = connection.execute(query)
    return tuple(stored for _, stored in _valid_rows(connection, runs, rows, _stored_run))


def history(
    connection: sa.Connection,
    library: str,
    cell: str,
    verb: str | None,
    limit: int,
    part: str = "",
) -> tuple[StoredRun, ...]:
    """Return the newest runs of a library in a cell, newest first: all of them, or those of a part
    of a verb without arguments for the framework."""
    of_verb = [] if verb is None else [runs.c.verb == verb, runs.c.part == part, _COMPARABLE]
    query = (
        sa.select(runs)
        .where(*_at(library, cell), *of_verb)
        .order_by(runs.c.started.desc(), runs.c.id)
        .limit(limit)
    )
    return _stored_runs(connection, query)


def times(
    connection: sa.Connection, places: Collection[Place], limit: int
) -> Mapping[Place, Mapping[str, tuple[End, ...]]]:
    """Return the ends of the newest runs of each verb of some places, without their messages;
    oldest first."""
    place = (runs.c.library, runs.c.cell, runs.c.verb, runs.c.part)
    newest_first = (runs.c.started.desc(), runs.c.id)
    number = sa.func.row_number().over(partition_by=place, order_by=newest_first)
    columns = (*place, runs.c.id, runs.c.state, runs.c.seconds, number.label("number"))
    whole = (runs.c.extent == "", _at_any(places))
    numbered = sa.select(*columns).where(*whole).subquery()
    query = sa.select(numbered).where(numbered.c.number <= limit).order_by(numbered.c.number.desc())
    ends = _valid_rows(connection, runs, connection.execute(query), _end)
    verbs = grouped(
        ((row.library, row.cell), (f"{row.verb} {row.part}".rstrip(), end)) for row, end in ends
    )
    return {key: grouped(pairs) for key, pairs in verbs.items()}


def last_verdicts(connection: sa.Connection) -> tuple[StoredRun, ...]:
    """Return the last two whole runs of each library, cell, verb and shard that passed or failed;
    newest first."""
    place = (runs.c.library, runs.c.cell, runs.c.verb, runs.c.part, runs.c.shard)
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


class StepTime(NamedTuple):
    """The seconds of a step of a run."""

    run: str
    library: str
    cell: str
    verb: str
    part: str
    step: str
    seconds: float


def step_times(connection: sa.Connection, most_runs: int) -> tuple[StepTime, ...]:
    """Return the seconds of the steps of the newest whole runs that passed, the newest first."""
    columns = (runs.c.id, runs.c.library, runs.c.cell, runs.c.verb, runs.c.part)
    newest_first = (runs.c.started.desc(), runs.c.id)
    newest = (
        sa.select(*columns, sa.func.row_number().over(order_by=newest_first).label("number"))
        .where(runs.c.extent == "", runs.c.shard == "", runs.c.state == "passed")
        .order_by(*newest_first)
        .limit(most_runs)
        .subquery()
    )
    steps = PARTS[Step]
    query = (
        sa.select(*(newest.c[column.name] for column in columns), steps.c.name, steps.c.seconds)
        .join(steps, steps.c.run == newest.c.id)
        .order_by(newest.c.number, steps.c.position)
    )
    rows = (tuple(row) for row in connection.execute(query))
    return tuple(StepTime(*row) for row in rows if _is_time(*row))


def _is_time(*values: object) -> bool:
    *names, seconds = values
    is_named = all(isinstance(name, str) for name in names)
    return is_named and isinstance(seconds, int | float) and 0 <= seconds < float("inf")


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
    columns = (outcomes.c.run, outcomes.c.position, outcomes.c.name, outcomes.c.state)
    query = sa.select(*columns).where(outcomes.c.name.in_(names), outcomes.c.run.in_(by_id))
    tests = _valid_rows(connection, outcomes, connection.execute(query), _outcome_state)
    return grouped((row.name, by_id[row.run].sighting(test.state)) for row, test in tests)


def outcomes_of(
    connection: sa.Connection, ids: Sequence[str], name: str
) -> Mapping[str, TestOutcome]:
    """Return the outcomes of a test by run, without their output."""
    tests: dict[str, TestOutcome] = {}
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        rows = stored_parts(connection, TestOutcome, part, outcomes.c.name == name)
        tests |= {run: group[-1] for run, group in rows.items()}
    return tests


def test_names(connection: sa.Connection, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tests of runs."""
    names: set[str] = set()
    for start in range(0, len(ids), _AT_ONCE):
        in_part = outcomes.c.run.in_(ids[start : start + _AT_ONCE])
        rows = connection.scalars(sa.select(outcomes.c.name).where(in_part).distinct())
        names |= {name for name in rows if isinstance(name, str)}
    return tuple(sorted(names))


# Library, cell, revision and name of a test.
_Test = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Flake:
    """A test whose result does not depend on the revision: how often it passed only on retry, and
    at how many revisions it both passed and failed."""

    library: str
    cell: str
    name: str
    retried: int
    contradicted: int


@dataclass(frozen=True, slots=True)
class FlakyRevision:
    """A revision at which a test was flaky: it passed only on retry, or it both passed and failed.
    The runs since any moment up to `started` show that."""

    name: str
    started: float
    reason: Literal["retried", "contradicted"]


def flaky_revisions(
    connection: sa.Connection, places: Collection[Place], since: float
) -> Mapping[Place, tuple[FlakyRevision, ...]]:
    """Return the revisions at which tests were flaky in the runs since a moment, by place."""
    bad = _last_outcomes(connection, places, since, REMARKABLE)
    failed: defaultdict[_Test, float] = defaultdict(float)
    flakes: list[tuple[Place, FlakyRevision]] = []
    for (*test, state), started in bad.items():
        library, cell, revision, name = test
        if state == "flaky":
            flakes.append(((library, cell), FlakyRevision(name, started, "retried")))
        elif revision and not revision.endswith(CHANGED):  # which may be of different files
            key = (library, cell, revision, name)
            failed[key] = max(failed[key], started)
    repeated = _second_runs(connection, places, since) if failed else {}
    again = {test: started for test, started in failed.items() if test[:3] in repeated}
    for (*test, _), passed in _passed(connection, places, since, again).items():
        library, cell, revision, name = test
        if (last := again.get((library, cell, revision, name))) is not None:
            started = min(last, passed, repeated[library, cell, revision])
            flakes.append(((library, cell), FlakyRevision(name, started, "contradicted")))
    flakes.sort(key=lambda item: (item[0], astuple(item[1])))
    return grouped(flakes)


def _second_runs(
    connection: sa.Connection, places: Collection[Place], since: float
) -> Mapping[tuple[str, str, str], float]:
    """Return when the last run but one of a revision started, by library, cell and revision: only
    tests of repeated runs can be contradictory."""
    key = (runs.c.library, runs.c.cell, runs.c.revision)
    number = sa.func.row_number().over(partition_by=key, order_by=runs.c.started.desc())
    comparable = (_at_any(places), runs.c.started >= since, _COMPARABLE)
    columns = (*key, runs.c.id, runs.c.started, number.label("number"))
    numbered = sa.select(*columns).where(*comparable).subquery()
    query = sa.select(numbered).where(numbered.c.number == 2)
    rows = _valid_rows(connection, runs, connection.execute(query), _placed_run)
    return {(row.library, row.cell, row.revision): row.started for row, _ in rows}


def _passed(
    connection: sa.Connection, places: Collection[Place], since: float, tests: Collection[_Test]
) -> Mapping[tuple[str, ...], float]:
    """Return when tests of the names and revisions of `tests` last passed."""
    revisions = sorted({revision for _, _, revision, _ in tests})
    names = sorted({name for *_, name in tests})
    passed: dict[tuple[str, ...], float] = {}
    for start in range(0, len(names), 500):
        conditions = (
            runs.c.revision.in_(revisions),
            outcomes.c.name.in_(names[start : start + 500]),
            outcomes.c.state == "passed",
        )
        passed |= _last_outcomes(connection, places, since, *conditions)
    return passed


def _last_outcomes(
    connection: sa.Connection,
    places: Collection[Place],
    since: float,
    *conditions: sa.ColumnElement[bool],
) -> Mapping[tuple[str, ...], float]:
    """Return when the last run since a moment started that has an outcome, by library, cell,
    revision, name and state of the test."""
    comparable = (_at_any(places), runs.c.started >= since, _COMPARABLE)
    of_run = (runs.c.library, runs.c.cell, runs.c.revision, runs.c.started)
    query = (
        sa.select(*of_run, outcomes.c.name, outcomes.c.state, *outcomes.primary_key)
        .join(outcomes, outcomes.c.run == runs.c.id)
        .where(*comparable, *conditions)
    )
    last: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for row, sighting in _valid_rows(
        connection, outcomes, connection.execute(query), _placed_outcome
    ):
        key = (row.library, row.cell, row.revision, row.name, row.state)
        last[key] = max(last[key], sighting.started)
    return last


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


def _place(row: sa.Row[Any]) -> Place:
    _check_texts(row.library, row.cell)
    return row.library, row.cell


def _placed_outcome(row: sa.Row[Any]) -> Sighting:
    _check_texts(row.library, row.cell)
    return check(Sighting(row.name, Revision(row.revision), row.started, row.state))


def _placed_run(row: sa.Row[Any]) -> Sighting:
    _check_texts(row.library, row.cell)
    return check(Sighting("", Revision(row.revision), row.started, "passed"))


def _end(row: sa.Row[Any]) -> End:
    _check_texts(row.library, row.cell, row.verb, row.part)
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
    """Yield each valid row with the value that `make` returns for it; note the primary keys of
    invalid rows, which several queries may read."""
    for row in rows:
        try:
            yield row, make(row)
        except (AttributeError, OverflowError, TypeError, ValueError):
            # InvalidRecord is a ValueError.
            key = tuple(getattr(row, column.name) for column in table.primary_key)
            _leave_out(connection, table, key)


def _leave_out(connection: sa.Connection, table: sa.Table, key: tuple[object, ...]) -> None:
    """Note the primary key of an invalid row."""
    connection.info.setdefault(LEFT_OUT, defaultdict(set))[table.name].add(key)


def _check_texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a name is not text")
