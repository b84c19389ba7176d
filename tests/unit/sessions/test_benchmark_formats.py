"""Output of benchmark programs in the formats of several frameworks, as these write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.benchmark_formats import read_measurements
from envmatrix.sessions.outcomes import Measurement

ITERATION = {"run_name": "add/8", "run_type": "iteration", "time_unit": "us"}
GOOGLE = {
    "context": {"num_cpus": 2},
    "benchmarks": [
        *({"name": "add/8", **ITERATION, "real_time": value} for value in (3.0, 1.0, 2.0)),
        {"name": "add/8_cv", **ITERATION, "run_type": "aggregate", "real_time": 0.04},
    ],
}
PYTEST = {"benchmarks": [{"fullname": "test_a.py::test_add", "stats": {"data": [2.0, 4.0, 3.0]}}]}
HYPERFINE = {"results": [{"command": "sleep 1", "times": [1.0, 1.2, 1.1], "exit_codes": [0] * 3}]}


def state(tags: Mapping[str, str], **others: Any) -> Mapping[str, Any]:
    summaries = [
        {"tag": tag, "data": [{"name": "value", "type": "float64", "value": value}]}
        for tag, value in tags.items()
    ]
    return {"name": "Device=0 T=I32", "is_skipped": False, "summaries": summaries, **others}


def nvbench(*states: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"devices": [], "benchmarks": [{"name": "copy", "states": [*states]}]}


MEAN, MEDIAN = "nv/cold/time/gpu/mean", "nv/cold/time/gpu/median"
OWN = {"measurements": [{"name": "a", "value": 5, "unit": "GB/s", "direction": "higher"}]}


@pytest.mark.parametrize(
    ("document", "measurement"),
    [
        (OWN, Measurement("a", 5.0, "GB/s", "higher")),
        (GOOGLE, Measurement("add/8", 2.0, "us", "lower")),
        (PYTEST, Measurement("test_a.py::test_add", 3.0, "s", "lower")),
        (HYPERFINE, Measurement("sleep 1", 1.1, "s", "lower")),
        (nvbench(state({MEAN: "2e-3"})), Measurement("copy Device=0 T=I32", 0.002, "s", "lower")),
        (nvbench(state({MEAN: "2e-3", MEDIAN: "1e-3"})),
         Measurement("copy Device=0 T=I32", 0.001, "s", "lower")),
    ],
)  # fmt: skip
def test_each_format_has_one_value_for_each_name(
    document: Mapping[str, Any], measurement: Measurement
) -> None:
    assert read_measurements(json.dumps(document)) == (measurement,)


def test_states_that_nvbench_skipped_are_not_measured() -> None:
    skipped = state({}, is_skipped=True, skip_reason="too large")
    assert read_measurements(json.dumps(nvbench(skipped))) == ()


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"benchmarks": [{"name": "b", "error_occurred": True, "error_message": "broken"}]},
         "'b' failed: broken"),
        ({"benchmarks": [{"name": "b", "real_time": 1, "time_unit": "h"}]},
         "the unit of 'b' is 'h'"),
        ({"results": [{"command": "false", "times": [1], "exit_codes": [1]}]},
         "'false' ended with 1"),
        ({"results": [{"command": "a", "times": [float("nan")]}]}, "'a' has no times"),
        (nvbench(state({})), "'Device=0 T=I32' has no time of the GPU"),
        ({"benchmarks": []}, "no known format"),
        ({}, "no known format"),
        ([], "no known format"),
        (7, "no known format"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_an_error_with_the_formats(document: object, reason: str) -> None:
    with pytest.raises(EnvmatrixError, match=reason) as caught:
        read_measurements(json.dumps(document))
    assert "pytest-benchmark" in str(caught.value.hint)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["benchmarks", "results", "states", "stats", "name", "real_time", "times"]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_document_has_measurements_or_is_an_error(document: object) -> None:
    try:
        rows = read_measurements(json.dumps(document))
    except EnvmatrixError:
        return
    assert all(isinstance(row, Measurement) for row in rows)


ROW = {"name": "axpy", "value": 1, "unit": "GB/s", "direction": "higher"}


def printed(*rows: object) -> str:
    return json.dumps({"measurements": rows})


def test_the_measurements_of_a_benchmark() -> None:
    assert read_measurements(printed(ROW)) == (Measurement("axpy", 1.0, "GB/s", "higher"),)
    assert read_measurements(printed()) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no GPU",
        "[]",
        "{}",
        '{"measurements": 1}',
        printed(1),
        printed({**ROW, "value": "fast"}),
        printed({**ROW, "value": None}),
        printed({**ROW, "value": 10**400}),
        printed({**ROW, "value": float("nan")}),
        printed({**ROW, "value": float("inf")}),
        printed({**ROW, "direction": "sideways"}),
        printed({**ROW, "name": 1}),
        '{"measurements": ' + "[" * 100_000,
        " " * (17 << 20),
        printed({key: value for key, value in ROW.items() if key != "unit"}),
    ],
)
def test_what_is_no_measurement_is_an_error(text: str) -> None:
    with pytest.raises(EnvmatrixError, match="the benchmark's output"):
        read_measurements(text)
