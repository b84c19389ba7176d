"""Output of benchmark programs as measurements, in the formats of several frameworks. Pure.

The format is told by the content. One name has one value: the median of its repetitions, which the
program made in one run.

Sources: https://github.com/google/benchmark/blob/main/docs/tools.md,
https://pytest-benchmark.readthedocs.io, https://github.com/sharkdp/hyperfine,
https://github.com/NVIDIA/nvbench/blob/main/nvbench/json_printer.cu
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from typing import Any

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.outcomes import Measurement, bounded, measurement_of, parse_errors

_TIME_UNITS = ("ns", "us", "ms", "s")
# Summaries of nvbench with the time of a state in seconds, the best one first.
_TIMES = ("nv/cold/time/gpu/median", "nv/cold/time/gpu/mean")


def read_measurements(text: str) -> tuple[Measurement, ...]:
    """Parse the output of a benchmark; raise EnvmatrixError if it has none of the formats."""
    with parse_errors("the benchmark's output is no result", hint=_HINT):
        document = json.loads(bounded(text))
        for is_of, read in _FORMATS:
            if isinstance(document, dict) and is_of(document):
                return tuple(read(document))
    raise EnvmatrixError("the benchmark's output has no known format", hint=_HINT)


def _own(document: Mapping[str, Any]) -> Iterator[Measurement]:
    yield from map(measurement_of, document["measurements"])


def _google(document: Mapping[str, Any]) -> Iterator[Measurement]:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in document["benchmarks"]:
        if row.get("error_occurred"):
            raise ValueError(f"{row['name']!r} failed: {row.get('error_message', '')}")
        if row.get("run_type", "iteration") == "iteration" and not row.get("skipped"):
            unit = row.get("time_unit", "ns")
            if unit not in _TIME_UNITS:
                raise ValueError(f"the unit of {row['name']!r} is {unit!r}")
            times[str(row.get("run_name", row["name"])), unit].append(float(row["real_time"]))
    for (name, unit), values in times.items():
        yield _time(name, values, unit)


def _pytest(document: Mapping[str, Any]) -> Iterator[Measurement]:
    for row in document["benchmarks"]:
        stats = row["stats"]
        yield _time(row["fullname"], stats.get("data") or [stats["median"]])


def _hyperfine(document: Mapping[str, Any]) -> Iterator[Measurement]:
    for row in document["results"]:
        if codes := [code for code in row.get("exit_codes") or () if code]:
            raise ValueError(f"{row['command']!r} ended with {codes[0]}")
        yield _time(row["command"], row.get("times") or [row["median"]])


def _nvbench(document: Mapping[str, Any]) -> Iterator[Measurement]:
    for benchmark in document["benchmarks"]:
        for state in benchmark["states"]:
            if state.get("is_skipped"):
                continue
            values = {row["tag"]: row["data"] for row in state["summaries"] or ()}
            tag = next((tag for tag in _TIMES if tag in values), None)
            if tag is None:
                raise ValueError(f"{state['name']!r} has no time of the GPU")
            (value,) = (row["value"] for row in values[tag] if row["name"] == "value")
            yield _time(f"{benchmark['name']} {state['name']}", [value])


def _time(name: Any, values: Iterable[Any], unit: str = "s") -> Measurement:
    numbers = [float(value) for value in values]
    if not isinstance(name, str) or not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name!r} has no times")
    return Measurement(name, median(numbers), unit, "lower")


def _has(document: Mapping[str, Any], key: str) -> bool:
    """Return whether the first benchmark of a document has a key."""
    rows = document.get("benchmarks")
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and key in rows[0]


_FORMATS: tuple[
    tuple[Callable[[Mapping[str, Any]], bool], Callable[[Any], Iterator[Measurement]]], ...
] = (
    (lambda document: "measurements" in document, _own),
    (lambda document: "results" in document, _hyperfine),
    (lambda document: _has(document, "states"), _nvbench),
    (lambda document: _has(document, "stats"), _pytest),
    (lambda document: _has(document, "real_time") or _has(document, "error_occurred"), _google),
)
_HINT = (
    'print {"measurements": [...]}, as docs/performance.md has it, or the JSON of '
    "Google Benchmark, nvbench, pytest-benchmark or hyperfine"
)
