"""The contents of a report: states of the newest runs, and origins of failures. Pure: values from
the store are passed in."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import date
from operator import attrgetter

from envmatrix.records import dataclass
from envmatrix.results.encoding import NOT_ENCODED
from envmatrix.results.queries import Flake, FlakyRevision, Sighting, StoredRun, grouped
from envmatrix.results.records import BAD, End, Revision
from envmatrix.results.waivers import Waiver, waiver_of
from envmatrix.sessions.failure_causes import Cause
from envmatrix.sessions.outcomes import COVERAGE, SEVERITY, Measurement, State, TestOutcome
from envmatrix.sessions.products import Product

# The least slowdown that is reported, as a ratio and in seconds.
_SLOWER, _SLOWER_SECONDS = 1.25, 1.0
_ENOUGH_RUNS = 5
_GOOD: Sequence[State] = ("passed", "flaky")


@dataclass(frozen=True, slots=True)
class ReportEntry:
    """The combined result of a library's newest runs in a cell. `size` of its products is in bytes,
    line `coverage` in percent; None if unknown."""

    library: str
    cell: str
    runs: Sequence[StoredRun]
    failures: Sequence[Failure] = ()
    size: int | None = None
    coverage: float | None = None

    @property
    def state(self) -> State:
        return worst(stored.end.state for stored in self.runs)

    @property
    def is_waived(self) -> bool:
        return bool(self.failures) and all(failure.waiver for failure in self.failures)

    @property
    def seconds(self) -> float:
        return sum(stored.end.seconds for stored in self.runs)

    @property
    def counts(self) -> Mapping[str, int]:
        """The numbers of its tests by state."""
        if len(self.runs) == 1:
            return self.runs[0].counts
        return sum((Counter(stored.counts) for stored in self.runs), Counter())


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a failure: the first run that failed and the last one before that did not."""

    first_bad: Sighting
    last_good: Sighting | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A current failure: a test, or, as `step:compile`, a step before tests."""

    library: str
    cell: str
    name: str
    state: State
    cause: Cause | None
    message: str
    run: str
    origin: Origin | None = None
    waiver: Waiver | None = field(default=None, metadata=NOT_ENCODED)


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A verb that takes longer than before: the median of earlier runs and the newest, in
    seconds."""

    library: str
    cell: str
    verb: str
    before: float
    now: float


# Increment this whenever a place's summary has other fields, or is computed in another way: stored
# ones of another format are computed again.
FORMAT = 5


@dataclass(frozen=True, slots=True)
class PlaceSummary:
    """All that reports have of a library in a cell, without what depends on their time and on
    waivers. `flaky` are those revisions that the runs since `since` show."""

    library: str
    cell: str
    since: float
    runs: tuple[StoredRun, ...] = ()
    failures: tuple[Failure, ...] = ()
    size: int | None = None
    coverage: float | None = None
    slower: tuple[Slowdown, ...] = ()
    flaky: tuple[FlakyRevision, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """`left_out` is the number of invalid rows by table; `unreadable` are the libraries in cells of
    which no result is left, `missing` those of the matrix that never had one."""

    entries: tuple[ReportEntry, ...]
    failures: tuple[Failure, ...] = ()
    flaky: tuple[Flake, ...] = ()
    slower: tuple[Slowdown, ...] = ()
    expired: tuple[Waiver, ...] = ()
    unused: tuple[Waiver, ...] = ()
    broke: tuple[Failure, ...] = ()
    since: str | None = None
    waiting: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()

    @property
    def bad(self) -> int:
        """The number of libraries in cells with failures that are not waived."""
        return sum(entry.state in BAD and not entry.is_waived for entry in self.entries)

    @property
    def unwaived(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.waiver is None)

    @property
    def is_good(self) -> bool:
        """Return whether everything has a result, all failures are waived, and invalid rows hide no
        whole result."""
        is_hidden = bool(self.left_out) and not self.entries
        return not (self.unwaived or self.unreadable or self.missing or is_hidden)

    def of_other_revisions(self, revisions: Mapping[str, str]) -> int:
        """Return the number of libraries in cells whose newest runs are all of another revision
        than the current one of the library."""
        return sum(
            all(stored.run.revision.id != revisions[entry.library] for stored in entry.runs)
            for entry in self.entries
            if revisions.get(entry.library)
        )


def newest_runs(runs: Iterable[StoredRun]) -> Mapping[tuple[str, str], tuple[StoredRun, ...]]:
    """Return the current runs by library and cell: the newest of each verb, with all its shards. A
    run that only compiled does not count beside a later one with tests."""
    places = grouped(((stored.run.library, stored.run.cell), stored) for stored in runs)
    return {place: tuple(_counting(group)) for place, group in sorted(places.items())}


def _counting(runs_of_place: Sequence[StoredRun]) -> Iterable[StoredRun]:
    works = grouped((stored.run.work, stored) for stored in runs_of_place)
    started = {work: max(map(_started, runs)) for work, runs in works.items()}
    last: dict[str, float] = {}
    for stored in runs_of_place:
        last[stored.run.verb] = max(_started(stored), last.get(stored.run.verb, 0.0))
    if max(last.get("test", 0.0), last.get("step", 0.0)) >= last.get("compile", 0.0):
        outdated: Collection[str] = ("compile",)
    else:
        compilations = (stored for stored in runs_of_place if stored.run.verb == "compile")
        is_broken = any(stored.end.state in BAD for stored in compilations)
        outdated = ("test", "step") if is_broken else ()
    for work, runs in sorted(works.items()):
        if runs[0].run.verb not in outdated and not _is_replaced(work, started):
            yield from _current(runs)


def _is_replaced(work: str, started: Mapping[str, float]) -> bool:
    """Return whether a later run replaces one: what requires a machine no longer runs on any, and
    the other way round."""
    before, is_placed, _ = work.partition(" on-")
    others = (
        moment
        for other, moment in started.items()
        if (other == before if is_placed else other.startswith(f"{before} on-"))
    )
    return max(others, default=0.0) > started[work]


def _current(runs: Sequence[StoredRun]) -> Sequence[StoredRun]:
    """Return the newest complete run of a verb, whole or all shards of one partition, and later
    partial runs, oldest first. Without a complete one, return the newest partition's shards."""
    whole = [stored for stored in runs if not stored.run.extent]
    partitions = grouped((_shards(stored), stored) for stored in sorted(whole, key=_shards))
    complete = [part for total, part in partitions.items() if len(part) >= _count_shards(total)]
    if not complete:
        last = max(runs, key=_started)
        return sorted((stored for stored in runs if _shards(stored) == _shards(last)), key=_started)
    base = max(complete, key=lambda runs: min(map(_started, runs)))
    base_started = min(map(_started, base))
    later = (stored for stored in runs if stored not in base and stored.run.started > base_started)
    return sorted([*base, *later], key=_started)


def _started(stored: StoredRun) -> float:
    return stored.run.started


def _count_shards(total: str) -> int:
    """Return the number of shards in a partition; 1 for a whole run."""
    return int(total) if total.isdecimal() else 1


def is_layered(runs: Sequence[StoredRun]) -> bool:
    """Return True if some of the runs ran a part of the tests that others ran too."""
    kinds = {(stored.run.extent, _shards(stored)) for stored in runs if stored.run.verb == "test"}
    return len(kinds) > 1 or any(extent for extent, _ in kinds)


def layer_runs(
    runs: Sequence[StoredRun], tests: Mapping[str, Sequence[TestOutcome]]
) -> tuple[tuple[StoredRun, ...], Mapping[str, Sequence[TestOutcome]]]:
    """Return the runs, reduced to the tests that no later run repeated, with their new states, and
    these tests by run id: a partial run says nothing about other tests."""
    later_names: set[str] = set()
    outcomes_of_runs: dict[str, Sequence[TestOutcome]] = {}
    layered_runs: list[StoredRun] = []
    for stored in sorted(runs, key=_started, reverse=True):
        if stored.run.verb != "test":
            layered_runs.append(stored)
            continue
        outcomes = tests.get(stored.run.id, ())
        remaining = [outcome for outcome in outcomes if outcome.name not in later_names]
        has_no_verdict = stored.end.state in BAD and BAD.isdisjoint(item.state for item in outcomes)
        # A run that failed before its tests counts until a later run has tests; a whole run counts
        # always.
        is_counted = has_no_verdict and not (later_names and stored.run.extent)
        state = stored.end.state if is_counted else worst(outcome.state for outcome in remaining)
        outcomes_of_runs[stored.run.id] = remaining
        counts: Counter[str] = Counter(outcome.state for outcome in remaining)
        layered_runs.append(replace(stored, end=replace(stored.end, state=state), counts=counts))
        later_names |= {outcome.name for outcome in outcomes}
    return tuple(reversed(layered_runs)), outcomes_of_runs


def _shards(stored: StoredRun) -> str:
    """Return `3` for shard `1/3`; "" for a whole run."""
    return stored.run.shard.partition("/")[2]


def worst(states: Iterable[State]) -> State:
    return max(states, key=SEVERITY.index, default="skipped")


def failures_of(stored: StoredRun, tests: Sequence[TestOutcome]) -> tuple[Failure, ...]:
    """Return the failures of a run: its failed tests, or the run itself if there are none."""
    if stored.end.state not in BAD:
        return ()
    run, end = stored.run, stored.end
    step = TestOutcome(f"step:{run.work}", end.state, 0.0, end.message)
    return tuple(
        Failure(
            run.library,
            run.cell,
            outcome.name,
            outcome.state,
            end.cause,
            outcome.message,
            run.id,
        )
        for outcome in [test for test in tests if test.state in BAD] or [step]
    )


def waive(failures: Iterable[Failure], waivers: Sequence[Waiver], today: date) -> list[Failure]:
    """Return the failures with the waivers that cover them."""
    if not waivers:
        return list(failures)
    return [
        replace(item, waiver=waiver_of(waivers, item.library, item.cell, item.name, today))
        for item in failures
    ]


def origin(sightings: Sequence[Sighting]) -> Origin | None:
    """Return the origin of a failure; None if the newest sighting is not bad. Sightings are ordered
    by commit time, then by the start of the run, and its id."""
    bad: Sighting | None = None
    for sighting in sorted(
        sightings,
        key=lambda row: (row.revision.committed or row.started, row.started, row.run),
        reverse=True,
    ):
        if sighting.state in BAD:
            bad = sighting
        elif sighting.state != "skipped":
            return Origin(bad, sighting) if bad else None
    return Origin(bad, None) if bad else None


def slowdown(place: tuple[str, str, str], history: Sequence[End]) -> Slowdown | None:
    """Return the slowdown of the last run in `history` against the median before, if any; `place`
    is a library, a cell and a verb."""
    passed = [end.seconds for end in history if end.state in _GOOD]
    if len(passed) <= _ENOUGH_RUNS or history[-1].state not in _GOOD:
        return None
    before, now = statistics.median(passed[:-1]), passed[-1]
    if now < before * _SLOWER or now < before + _SLOWER_SECONDS:
        return None
    return Slowdown(*place, before, now)


def summarize(
    place: PlaceSummary,
    times: Mapping[str, Sequence[End]],
    products: Sequence[Product],
    measurements: Sequence[Measurement],
) -> PlaceSummary:
    """Add to the summary of a place what follows from the ends of the last runs of each verb, and
    from the parts of the newest runs."""
    if not place.runs:
        return place
    slowdowns = (slowdown((place.library, place.cell, verb), times[verb]) for verb in sorted(times))
    # By path: shards and runs of several verbs create the same files.
    sizes = {product.path: product.size for product in products}
    coverages = [item.value for item in measurements if item.name == COVERAGE]
    return replace(
        place,
        size=sum(sizes.values()) if sizes else None,
        coverage=coverages[-1] if coverages else None,
        slower=tuple(filter(None, slowdowns)),
    )


def flakes(places: Iterable[PlaceSummary], since: float) -> tuple[Flake, ...]:
    """Return the flaky tests of the runs since a moment, worst first."""
    tests: list[Flake] = []
    for place in places:
        counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for item in place.flaky:
            if item.started >= since:
                counts[item.name][item.reason == "contradicted"] += 1
        tests += [Flake(place.library, place.cell, name, *row) for name, row in counts.items()]
    tests.sort(key=attrgetter("library", "cell", "name"))
    tests.sort(key=lambda flake: -flake.retried - flake.contradicted)
    return tuple(tests)


def newly_broken(
    before: Mapping[tuple[str, str, str], State], now: Sequence[Failure]
) -> tuple[Failure, ...]:
    """Return those of `now` that passed before; a test without a state before is new, not
    broken."""
    return tuple(item for item in now if before.get((item.library, item.cell, item.name)) in _GOOD)


def revision_text(revision: Revision) -> str:
    """Return a short name of a revision: the first digits of a commit."""
    is_hash = len(revision.id) >= 40 and all(char in "0123456789abcdef" for char in revision.id)
    return revision.id[:12] if is_hash else revision.id
