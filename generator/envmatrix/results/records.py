"""Records of runs, as values and as lines of a journal. Pure.

Other programs may have written lines of journals and rows of the store: both pass `check` before
they are used.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from envmatrix.records import dataclass
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.failure_causes import Cause
from envmatrix.sessions.outcomes import Comparison, Measurement, State, Step, TestOutcome
from envmatrix.sessions.products import Product

BAD: frozenset[State] = frozenset({"failed", "errored", "killed"})

# The last second that `datetime` can express.
_LAST_SECOND = 253_402_300_799
# Ranges of fields whose type admits more than a database or a calendar does.
_RANGES: Mapping[str, tuple[float, float]] = {
    "started": (0, _LAST_SECOND),
    "committed": (0, _LAST_SECOND),
    "seconds": (-1e12, 1e12),
    "status": (-(2**31), 2**31 - 1),
    "attempts": (0, 2**31 - 1),
    "line": (0, 2**31 - 1),
    "size": (0, 2**63 - 1),
}


class InvalidRecord(ValueError):
    """A record that no run of this tool wrote; the message is the reason."""


# Extents of a run: only the tests affected by a change, comparable with whole runs; and arguments
# for the test framework, not comparable.
SINCE, ARGUMENTS = "since", "arguments"


@dataclass(frozen=True, slots=True)
class Revision:
    """The revision of a library's source: a commit or another identifier. `committed` is in seconds
    since 1970, None if unknown."""

    id: str
    branch: str = ""
    committed: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a library in a cell. `started` is in seconds since 1970; `image` is the name with
    its fingerprint, `digest` the engine's digest of it. `extent` is empty if all tests of the shard
    ran, otherwise `SINCE` or `ARGUMENTS`. `part` has the words that tell its work from other work
    of the verb there: a step of the library, and the machine that it requires."""

    id: str
    library: str
    cell: str
    verb: str
    started: float
    revision: Revision = Revision("")
    image: str = ""
    digest: str = ""
    host: str = ""
    shard: str = ""
    extent: str = ""
    part: str = ""

    @property
    def work(self) -> str:
        """The verb and the part."""
        return f"{self.verb} {self.part}".rstrip()


@dataclass(frozen=True, slots=True)
class End:
    state: State
    seconds: float
    cause: Cause | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A whole run. The reader of a killed run's journal supplies its `end`."""

    run: Run
    end: End
    steps: tuple[Step, ...] = ()
    outcomes: tuple[TestOutcome, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    products: tuple[Product, ...] = ()
    findings: tuple[Finding, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the run in the order of a journal."""
        return (
            self.run,
            *self.steps,
            *self.outcomes,
            *self.measurements,
            *self.products,
            *self.findings,
            *self.comparisons,
            self.end,
        )

    @property
    def counts(self) -> Mapping[str, int]:
        return Counter(outcome.state for outcome in self.outcomes)


Part: TypeAlias = Run | Step | TestOutcome | Measurement | Product | Finding | Comparison | End

_Checked = TypeVar("_Checked")

_KINDS: Mapping[str, type[Part]] = {
    "run": Run,
    "step": Step,
    "outcome": TestOutcome,
    "measurement": Measurement,
    "product": Product,
    "finding": Finding,
    "comparison": Comparison,
    "end": End,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}

KILLED = End("killed", 0.0, "infrastructure", "it was killed, or its machine stopped")


def line_of(part: Part) -> str:
    """Return the line of a journal for `part`, without a newline."""
    return json.dumps({_NAMES[type(part)]: asdict(part)}, separators=(",", ":"))


def record_of(lines: Iterable[str]) -> Record:
    """Return the record that a journal describes. A truncated line and all that follow it are
    ignored; without a line for the end the run was killed.

    Raises:
        InvalidRecord: the first part is missing, or a whole line is not a part of a run.
    """
    parts: defaultdict[type[Part], list[Any]] = defaultdict(list)
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            break
        except (ValueError, RecursionError) as error:  # too many digits, too many brackets
            raise InvalidRecord("a line is too deeply nested or has too large a number") from error
        part = _part(entry)
        if isinstance(part, Run | End) and (parts[End] or parts[type(part)]):
            raise InvalidRecord("it begins or ends more than once")
        parts[type(part)].append(part)
    if not parts[Run]:
        raise InvalidRecord("it has no beginning")
    killed = replace(KILLED, seconds=sum(step.seconds for step in parts[Step]))
    (run,), (end,) = parts[Run], parts[End] or [killed]
    kinds = (Step, TestOutcome, Measurement, Product, Finding, Comparison)
    return Record(run, end, *(tuple(parts[kind]) for kind in kinds))


def check(part: _Checked) -> _Checked:
    """Return the part; raise InvalidRecord if a field's type does not admit its value."""
    kind: Any = type(part)
    for name, accepts in checks(kind):
        value = getattr(part, name)
        if not accepts(value):
            raise InvalidRecord(f"`{name}` of a {kind.__name__.lower()} is not valid")
        if name == "revision":
            check(value)
    return part


@cache
def checks(kind: type[Any]) -> tuple[tuple[str, Callable[[object], bool]], ...]:
    """Return the predicate for the value of each field of a dataclass, by name."""
    hints = get_type_hints(kind).items()
    return tuple((name, accepted(hint, _RANGES.get(name))) for name, hint in hints)


@cache
def accepted(kind: Any, limit: tuple[float, float] | None = None) -> Callable[[object], bool]:
    """Return the predicate for a field's type: texts, numbers, booleans, one of several, or a
    collection of any items."""
    if get_origin(kind) in (Union, UnionType):
        options = [accepted(option, limit) for option in get_args(kind)]
        return lambda value: any(accepts(value) for accepts in options)
    if get_origin(kind) is Literal:
        words = frozenset(get_args(kind))
        return lambda value: isinstance(value, str) and value in words
    if kind in (int, float):
        low, high = limit or (-(2**63), 2**63 - 1 if kind is int else sys.float_info.max)
        return lambda value: type(value) in (int, kind) and low <= value <= high  # type: ignore[operator]
    if kind is NoneType:
        return lambda value: value is None
    plain: type = get_origin(kind) or kind
    return lambda value: isinstance(value, plain)


def _part(entry: object) -> Part:
    """Return the part that a line holds."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise InvalidRecord("a line is not one part of a run")
    ((name, row),) = entry.items()
    if name not in _KINDS or not isinstance(row, dict):
        raise InvalidRecord("a line is of an unknown kind")
    try:
        if name == "run":
            row = {**row, "revision": Revision(**row["revision"])}
        part = _KINDS[name](**row)
    except (KeyError, TypeError) as error:
        raise InvalidRecord(f"a {name} lacks a field or has an unknown one") from error
    return check(part)
