"""Documents of nvbench with given samples, and what NVIDIA's tools that compare them say.

`pip install 'cuda-bench[compare]'` has the tools; none of their code is here. The format is that of
nvbench's writer: https://github.com/NVIDIA/nvbench/blob/main/nvbench/json_printer.cu
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TOOLS = ("nvbench-compare-robust", "nvbench-compare-legacy")
_CLOCK = 1.98e9
_HEADING = re.compile(r"^# b(\d+)$")
_STATUS = re.compile(r"\b(SLOW|FAST|SAME|AMBG|UNDECIDED|\?\?\?\?)\b")


def write(sets: Sequence[Sequence[float]], file: Path) -> None:
    """Write a document with a benchmark for each set of samples, in seconds."""
    benchmarks = [
        {
            "name": f"b{number}",
            "index": number,
            "devices": [0],
            "axes": [],
            "states": [_state(samples, file.with_suffix(f".{number}"))],
        }
        for number, samples in enumerate(sets)
    ]
    version = {"json": {"string": "1.0.0"}, "nvbench": {"string": "0.1.0"}}
    document = {
        "meta": {"version": version, "argv": ["bench"]},
        "devices": [{"id": 0, "name": "GPU"}],
        "benchmarks": benchmarks,
    }
    file.write_text(json.dumps(document), encoding="utf-8")


def _state(samples: Sequence[float], stem: Path) -> Mapping[str, object]:
    first, middle, third = statistics.quantiles(samples, n=4)
    mean, scatter, time = statistics.mean(samples), statistics.stdev(samples), "nv/cold/time/gpu"
    numbers = {
        f"{time}/min": min(samples),
        f"{time}/max": max(samples),
        f"{time}/mean": mean,
        f"{time}/stdev/absolute": scatter,
        f"{time}/stdev/relative": scatter / mean,
        f"{time}/q1": first,
        f"{time}/median": middle,
        f"{time}/q3": third,
        f"{time}/iqr/absolute": third - first,
        f"{time}/iqr/relative": (third - first) / middle,
        "nv/cold/sm_clock_rate/mean": _CLOCK,
    }
    bulk = {
        "nv/json/bin:nv/cold/sample_times": samples,
        "nv/json/freqs-bin:nv/cold/sample_freqs": [_CLOCK] * len(samples),
    }
    summaries = [_summary(tag, [("value", "float64", value)]) for tag, value in numbers.items()]
    for number, (tag, values) in enumerate(bulk.items()):
        file = stem.with_name(f"{stem.name}.{number}.bin")
        file.write_bytes(array("f", values).tobytes())
        data = [("filename", "string", file), ("size", "int64", len(values))]
        summaries.append(_summary(tag, data))
    return {
        "name": "Device=0",
        "device": 0,
        "type_config_index": 0,
        "axis_values": [],
        "is_skipped": False,
        "summaries": summaries,
    }


def _summary(tag: str, data: Sequence[tuple[str, str, object]]) -> Mapping[str, object]:
    rows = [{"name": name, "type": kind, "value": str(value)} for name, kind, value in data]
    return {"tag": tag, "name": tag, "data": rows}


def verdicts(program: str, baseline: Path, change: Path) -> Sequence[str]:
    """Return the statuses of benchmarks of two documents, in their order."""
    command = [program, "--no-color", str(baseline), str(change)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    statuses = dict(_statuses(done.stdout))
    if not statuses:
        raise SystemExit(f"{program} compares nothing: {(done.stdout + done.stderr)[-500:]}")
    return [statuses.get(number, "none") for number in range(max(statuses) + 1)]


def _statuses(text: str) -> Iterator[tuple[int, str]]:
    number = -1
    for line in text.splitlines():
        if match := _HEADING.match(line):
            number = int(match[1])
        elif line.startswith("|") and (status := _STATUS.search(line)):
            yield number, status[1]
