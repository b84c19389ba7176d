"""Runs for tests, with all that a test does not care for filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from envmatrix.results.records import End, Record, Revision, Run
from envmatrix.sessions.failure_causes import Cause
from envmatrix.sessions.outcomes import (
    Comparison,
    ComparisonState,
    Measurement,
    State,
    Step,
    TestOutcome,
)
from envmatrix.sessions.products import Product

CELL = "cuda13.0-debian12-x86_64"


def run(
    number: int = 1,
    *,
    library: str = "lib",
    cell: str = CELL,
    verb: str = "test",
    revision: str | None = None,
    committed: float | None = None,
    shard: str = "",
    extent: str = "",
    part: str = "",
) -> Run:
    """Return the run `number`, at that second and of that revision."""
    return Run(
        id=f"{library}-{cell}-{verb}-{part}{shard}-{number}"[-36:],
        library=library,
        cell=cell,
        verb=verb,
        started=float(number),
        revision=Revision(f"r{number}" if revision is None else revision, "main", committed),
        image="envmatrix/e:devel-amd64-0",
        digest="sha256:0",
        host="machine",
        shard=shard,
        extent=extent,
        part=part,
    )


def record(
    number: int = 1,
    tests: Mapping[str, State] | None = None,
    *,
    state: State | None = None,
    cause: Cause | None = None,
    message: str = "",
    seconds: float = 2.0,
    steps: Sequence[Step] = (),
    measurements: Sequence[Measurement] = (),
    products: Sequence[Product] = (),
    library: str = "lib",
    cell: str = CELL,
    verb: str = "test",
    revision: str | None = None,
    committed: float | None = None,
    shard: str = "",
    extent: str = "",
    part: str = "",
    comparisons: Sequence[Comparison] = (),
) -> Record:
    """Return a run that failed if one of its tests did."""
    states = tests or {}
    is_bad = any(verdict in ("failed", "errored") for verdict in states.values())
    return Record(
        run(
            number,
            library=library,
            cell=cell,
            verb=verb,
            revision=revision,
            committed=committed,
            shard=shard,
            extent=extent,
            part=part,
        ),
        End(state or ("failed" if is_bad else "passed"), seconds, cause, message),
        tuple(steps),
        tuple(
            TestOutcome(name, verdict, 0.5, f"{name} says {verdict}" if verdict != "passed" else "")
            for name, verdict in states.items()
        ),
        tuple(measurements),
        tuple(products),
        comparisons=tuple(comparisons),
    )


def comparison(
    name: str = "axpy", state: ComparisonState = "slower", *, device: str = "H100", pairs: str = ""
) -> Comparison:
    """Return a comparison of three pairs, or of others as JSON."""
    pairs = pairs or "[[1.0, 1.03], [1.01, 1.04], [0.99, 1.02]]"
    numbers = (0.03, 0.004)
    return Comparison(name, state, *numbers, "b" * 40, device, "ms", f"{name} is {state}", pairs)


def collector(records: list[Record]) -> Callable[..., None]:
    """Return what `replay` can pass runs to, which adds them to a list."""

    def add(*others: Record) -> None:
        records.extend(others)

    return add
