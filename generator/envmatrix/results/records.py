"""What a run leaves behind, as values, and as the lines of a journal. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from envmatrix.sessions.failures import Cause
from envmatrix.sessions.findings import Finding
from envmatrix.sessions.outcomes import Measurement, State, Step, TestOutcome

BAD: frozenset[State] = frozenset({"failed", "errored", "killed"})


@dataclass(frozen=True, slots=True)
class Revision:
    """What was built: a commit of the library's source, or what else identifies it. `committed` is
    in seconds since 1970, None where nothing tells it."""

    id: str
    branch: str = ""
    committed: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One library in one cell, once. `started` is in seconds since 1970; `image` is the name with
    its fingerprint, `digest` what the engine has under it."""

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


@dataclass(frozen=True, slots=True)
class Product:
    """A file that a run made; `path` within the library's build directory, `size` in bytes."""

    path: str
    machine: str | None
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class End:
    state: State
    seconds: float
    cause: Cause | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A whole run. `end` of one that was killed is made up by whoever finds it."""

    run: Run
    end: End
    steps: tuple[Step, ...] = ()
    outcomes: tuple[TestOutcome, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    products: tuple[Product, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        return Counter(outcome.state for outcome in self.outcomes)


Part: TypeAlias = Run | Step | TestOutcome | Measurement | Product | Finding | End

_KINDS: Mapping[str, type[Part]] = {
    "run": Run,
    "step": Step,
    "outcome": TestOutcome,
    "measurement": Measurement,
    "product": Product,
    "finding": Finding,
    "end": End,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}

KILLED = End("killed", 0.0, "infrastructure", "it was killed, or its machine stopped")


def line_of(part: Part) -> str:
    """One line of a journal, without its end."""
    return json.dumps({_NAMES[type(part)]: asdict(part)}, separators=(",", ":"))


def record_of(lines: Iterable[str]) -> Record | None:
    """The record that a journal tells. A line that was cut off and all behind it do not count;
    without a line for the end the run was killed; None where not even its beginning is told."""
    parts = _Parts()
    for line in lines:
        try:
            ((name, row),) = json.loads(line).items()
            parts.add(_part(name, row))
        except (ValueError, KeyError, TypeError, AttributeError):
            break
    return parts.record


def _part(name: str, row: dict[str, Any]) -> Part:
    if name == "run":
        row = {**row, "revision": Revision(**row["revision"])}
    return _KINDS[name](**row)


@dataclass(slots=True)
class _Parts:
    run: Run | None = None
    end: End | None = None
    others: dict[type[Part], list[Any]] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        if isinstance(part, Run):
            self.run = part
        elif isinstance(part, End):
            self.end = part
        else:
            self.others.setdefault(type(part), []).append(part)

    @property
    def record(self) -> Record | None:
        if self.run is None:
            return None
        steps = tuple(self.others.get(Step, ()))
        seconds = sum(step.seconds for step in steps)
        return Record(
            self.run,
            self.end or replace(KILLED, seconds=seconds),
            steps,
            tuple(self.others.get(TestOutcome, ())),
            tuple(self.others.get(Measurement, ())),
            tuple(self.others.get(Product, ())),
            tuple(self.others.get(Finding, ())),
        )
