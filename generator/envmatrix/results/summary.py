"""What the newest runs come to, and since when: all that a report says. Pure but for the store's
answers, which are handed in as values."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from envmatrix.results.queries import Flake, Kept, Sighting
from envmatrix.results.records import BAD, End, Revision
from envmatrix.results.waivers import Waiver, waiver_of
from envmatrix.sessions.failures import Cause
from envmatrix.sessions.outcomes import State, TestOutcome

# How much slower than before counts, as a ratio, and from how many seconds on.
_SLOWER, _SLOWER_SECONDS = 1.25, 1.0
_ENOUGH_RUNS = 5

_WORST: Sequence[State] = ("killed", "errored", "failed", "flaky", "passed", "skipped")


@dataclass(frozen=True, slots=True)
class Entry:
    """A library in a cell: what its newest runs come to together. `size` is of its products in
    bytes, `coverage` of lines in percent; None where no run tells."""

    library: str
    cell: str
    state: State
    runs: tuple[Kept, ...]
    is_waived: bool = False
    size: int | None = None
    coverage: float | None = None

    @property
    def seconds(self) -> float:
        return sum(kept.end.seconds for kept in self.runs)

    def count(self, state: str) -> int:
        return sum(kept.counts.get(state, 0) for kept in self.runs)


@dataclass(frozen=True, slots=True)
class Origin:
    """Since when something fails: the first run that did and the last one before that did not."""

    first_bad: Sighting
    last_good: Sighting | None


@dataclass(frozen=True, slots=True)
class Failure:
    """What fails now: a test, or, as `step:compile`, what came before tests."""

    library: str
    cell: str
    name: str
    state: State
    cause: Cause | None
    message: str
    run: str
    origin: Origin | None = None
    waiver: Waiver | None = None


@dataclass(frozen=True, slots=True)
class Slower:
    """A step or run that takes longer than it did: the median of those before, and the newest."""

    library: str
    cell: str
    verb: str
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Report:
    """`times` are the seconds of the last runs of a library in a cell, the newest last; `left_out`
    is how many rows of each table are invalid."""

    entries: tuple[Entry, ...]
    failures: tuple[Failure, ...] = ()
    flaky: tuple[Flake, ...] = ()
    slower: tuple[Slower, ...] = ()
    expired: tuple[Waiver, ...] = ()
    unused: tuple[Waiver, ...] = ()
    broke: tuple[Failure, ...] = ()
    since: str | None = None
    waiting: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)

    @property
    def bad(self) -> int:
        """How many libraries in cells fail with something that is not waived."""
        return sum(entry.state in BAD and not entry.is_waived for entry in self.entries)

    @property
    def unwaived(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.waiver is None)


def newest(kept: Iterable[Kept]) -> Mapping[tuple[str, str], tuple[Kept, ...]]:
    """By library and cell the runs that count: of each verb the newest, with the other shards of
    one that has shards. A run that only compiled does not count beside a later one with tests."""
    groups: dict[tuple[str, str], dict[str, list[Kept]]] = {}
    for its in kept:
        place = groups.setdefault((its.run.library, its.run.cell), {})
        place.setdefault(its.run.verb, []).append(its)
    return {key: tuple(_counting(verbs)) for key, verbs in sorted(groups.items())}


def _counting(verbs: Mapping[str, Sequence[Kept]]) -> Iterable[Kept]:
    begun = {verb: max(its.run.started for its in found) for verb, found in verbs.items()}
    for verb, found in sorted(verbs.items()):
        if verb == "compile" and begun.get("test", 0.0) >= begun[verb]:
            continue
        if verb == "test" and begun.get("compile", 0.0) > begun[verb] and _is_bad(verbs["compile"]):
            continue
        yield from _current(found)


def _current(found: Sequence[Kept]) -> Sequence[Kept]:
    """The newest complete run of a verb, be it whole or all shards of one partition, and what ran
    since in parts, the oldest first. Without a complete one, the parts of the newest partition."""
    usual = [its for its in found if not its.run.extent]
    totals = sorted({_shards(its) for its in usual})
    partitions = [[its for its in usual if _shards(its) == total] for total in totals]
    complete = [part for part in partitions if len(part) >= _parts_of(part[0])]
    if not complete:
        last = max(found, key=_started)
        return sorted((its for its in found if _shards(its) == _shards(last)), key=_started)
    base = max(complete, key=lambda runs: min(map(_started, runs)))
    begun = min(map(_started, base))
    later = (its for its in found if its not in base and its.run.started > begun)
    return sorted([*base, *later], key=_started)


def _started(kept: Kept) -> float:
    return kept.run.started


def _parts_of(kept: Kept) -> int:
    """How many shards there are of what a run is a shard of."""
    total = _shards(kept)
    return int(total) if total.isdecimal() else 1


def is_layered(runs: Sequence[Kept]) -> bool:
    """Whether some of the runs that count ran a part of the tests that others ran too."""
    kinds = {(its.run.extent, _shards(its)) for its in runs if its.run.verb == "test"}
    return len(kinds) > 1 or any(extent for extent, _ in kinds)


def layered(
    runs: Sequence[Kept], tests: Mapping[str, Sequence[TestOutcome]]
) -> tuple[tuple[Kept, ...], Mapping[str, Sequence[TestOutcome]]]:
    """Runs with those of their tests that no later run ran again, and what they come to by these:
    a run of some tests says nothing of the others."""
    seen: set[str] = set()
    own: dict[str, Sequence[TestOutcome]] = {}
    there: list[Kept] = []
    for kept in sorted(runs, key=_started, reverse=True):
        if kept.run.verb != "test":
            there.append(kept)
            continue
        outcomes = tests.get(kept.run.id, ())
        left = [its for its in outcomes if its.name not in seen]
        has_no_verdict = _is_bad([kept]) and not any(its.state in BAD for its in outcomes)
        # What did not get as far as its tests counts until others got there, and for good where
        # it was to run them all.
        counts = has_no_verdict and not (seen and kept.run.extent)
        state = kept.end.state if counts else worst(its.state for its in left)
        own[kept.run.id] = left
        end = replace(kept.end, state=state)
        there.append(replace(kept, end=end, counts=Counter(its.state for its in left)))
        seen |= {its.name for its in outcomes}
    return tuple(reversed(there)), own


def _is_bad(found: Iterable[Kept]) -> bool:
    return any(its.end.state in BAD for its in found)


def _shards(kept: Kept) -> str:
    """`3` of shard `1/3`; nothing of a run that is whole."""
    return kept.run.shard.partition("/")[2]


def worst(states: Iterable[State]) -> State:
    there = set(states)
    return next((state for state in _WORST if state in there), "skipped")


def entry(
    runs: Sequence[Kept],
    failures: Sequence[Failure],
    *,
    size: int | None = None,
    coverage: float | None = None,
) -> Entry:
    """`failures` are those of this library and cell."""
    state = worst(kept.end.state for kept in runs)
    waived = bool(failures) and all(failure.waiver for failure in failures)
    run = runs[0].run
    return Entry(run.library, run.cell, state, tuple(runs), waived, size, coverage)


def failures_of(
    kept: Kept,
    tests: Sequence[TestOutcome],
    waivers: Sequence[Waiver],
    today: date,
) -> tuple[Failure, ...]:
    """What fails in a run: its tests, or the run itself where none of them does."""
    if kept.end.state not in BAD:
        return ()
    bad = [(its.name, its.state, its.message) for its in tests if its.state in BAD]
    found = bad or [(f"step:{kept.run.verb}", kept.end.state, kept.end.message)]
    return tuple(
        Failure(
            kept.run.library,
            kept.run.cell,
            name,
            state,
            kept.end.cause,
            message,
            kept.run.id,
            waiver=waiver_of(waivers, kept.run.library, kept.run.cell, name, today),
        )
        for name, state, message in found
    )


def origin(sightings: Sequence[Sighting]) -> Origin | None:
    """Since when it is bad, of all that was seen of it; None where the newest is not bad. Commits
    are in the order of their own times, runs of one commit in that of theirs."""
    bad: Sighting | None = None
    for sighting in sorted(sightings, key=_order, reverse=True):
        if sighting.state in BAD:
            bad = sighting
        elif sighting.state != "skipped":
            return Origin(bad, sighting) if bad else None
    return Origin(bad, None) if bad else None


def _order(sighting: Sighting) -> tuple[float, float]:
    return sighting.revision.committed or sighting.started, sighting.started


def slower(library: str, cell: str, verb: str, history: Sequence[End]) -> Slower | None:
    """Whether the newest of these runs, the last, took longer than was usual."""
    good = ("passed", "flaky")
    passed = [its.seconds for its in history if its.state in good]
    if len(passed) <= _ENOUGH_RUNS or history[-1].state not in good:
        return None
    before, now = statistics.median(passed[:-1]), passed[-1]
    if now < before * _SLOWER or now < before + _SLOWER_SECONDS:
        return None
    return Slower(library, cell, verb, before, now)


def broken(
    before: Mapping[tuple[str, str, str], State], now: Sequence[Failure]
) -> tuple[Failure, ...]:
    """Those of `now` that did not fail before; what was not there before is new, not broken."""
    there = ((its, before.get((its.library, its.cell, its.name))) for its in now)
    return tuple(failure for failure, state in there if state in ("passed", "flaky"))


def described(revision: Revision) -> str:
    """A revision as people write it: a commit by its first digits."""
    is_hash = len(revision.id) >= 40 and all(char in "0123456789abcdef" for char in revision.id)
    return revision.id[:12] if is_hash else revision.id
