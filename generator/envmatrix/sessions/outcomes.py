"""Results of sessions, parsed from their files. Errors name the invalid file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from envmatrix.errors import EnvmatrixError
from envmatrix.records import dataclass

# Of a test or a whole run. `flaky` passed, but only when tried again; `errored` did not get to a
# verdict; `killed` was not ended by itself.
State: TypeAlias = Literal["passed", "flaky", "failed", "errored", "skipped", "killed"]


# States that summaries count, in their order.
COUNTED: Sequence[State] = ("passed", "flaky", "failed", "errored", "skipped")


@dataclass(frozen=True, slots=True)
class TestOutcome:
    __test__ = False  # pytest: this is no test class

    name: str
    state: State
    seconds: float
    message: str = ""
    attempts: int = 1
    output: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Program that a session ran, with its exit code; `log` is its output, cut in the middle where
    that is long."""

    name: str
    status: int
    seconds: float
    log: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    value: float
    unit: str
    direction: Literal["higher", "lower"]


# The result of a comparison with a baseline: `undecided` needs more pairs, `invalid` has a fault.
ComparisonState: TypeAlias = Literal["slower", "faster", "equal", "undecided", "invalid"]
# What that is as a test: nothing but a clear result passes.
STATE_OF: Mapping[ComparisonState, State] = {
    "slower": "failed",
    "faster": "passed",
    "equal": "passed",
    "undecided": "skipped",
    "invalid": "errored",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a benchmark with that of the revision `baseline`, on a `device`. `effect`
    is the change of its time, 0.03 for 3 % slower, with the half width of its interval; the other
    numbers are those of `pairs`, of the baseline and the change, in `unit`, as JSON."""

    name: str
    state: ComparisonState
    effect: float
    half_width: float
    baseline: str
    device: str
    unit: str
    message: str
    pairs: str


# The measurement of how much of a library its tests execute.
COVERAGE = "line coverage"


def merge_retries(
    first: Sequence[TestOutcome], retried: Sequence[TestOutcome]
) -> tuple[TestOutcome, ...]:
    """Merge the outcomes of retries into `first`: a test that passes on a retry is flaky, and keeps
    the message of its failure."""
    retries = {outcome.name: outcome for outcome in worst_by_name(retried)}
    return tuple(
        _with_retry(outcome, retries.get(outcome.name)) for outcome in worst_by_name(first)
    )


def _with_retry(first: TestOutcome, retry: TestOutcome | None) -> TestOutcome:
    if retry is None:
        return first
    attempts = first.attempts + 1
    if retry.state == "passed":
        return replace(first, state="flaky", seconds=retry.seconds, attempts=attempts)
    return replace(retry, attempts=attempts)


SEVERITY: Sequence[State] = ("skipped", "passed", "flaky", "failed", "errored", "killed")


def worst_by_name(outcomes: Iterable[TestOutcome]) -> tuple[TestOutcome, ...]:
    """Return one outcome for each name: the worst, with the total time of those of its name, such
    as of sections."""
    by_name: dict[str, list[TestOutcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.name, []).append(outcome)
    return tuple(
        replace(
            max(group, key=lambda outcome: SEVERITY.index(outcome.state)),
            seconds=sum(outcome.seconds for outcome in group),
        )
        for group in by_name.values()
    )


# Longest list of tests or of measurements, in characters.
_LARGEST_LIST = 16 << 20


def bounded(text: str) -> str:
    """Return `text`; ValueError where it is too long to be parsed as a whole."""
    if len(text) > _LARGEST_LIST:
        raise ValueError(f"it has more than {_LARGEST_LIST >> 20} MB")
    return text


_MALFORMED = (
    *(ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError),
    SyntaxError,  # of XML
)


@contextmanager
def parse_errors(message: str, hint: str | None = None) -> Iterator[None]:
    """Raise the errors that malformed output of a program causes as EnvmatrixError."""
    try:
        yield
    except _MALFORMED as error:
        raise EnvmatrixError(f"{message}: {error}", hint=hint) from error


def measurement_of(row: Any) -> Measurement:
    """Return the measurement of a row of JSON: {name, value, unit, direction}."""
    name, value, unit, direction = (row[key] for key in ("name", "value", "unit", "direction"))
    if not isinstance(name, str) or not isinstance(unit, str):
        raise TypeError(f"name and unit of {name!r} must be text")
    if direction not in ("higher", "lower"):
        raise ValueError(f"the direction of {name!r} is {direction!r}, not `higher` or `lower`")
    if not math.isfinite(float(value)):
        raise ValueError(f"the value of {name!r} is {value}")
    return Measurement(name, float(value), unit, direction)
