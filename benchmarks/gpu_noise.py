"""How much do times on a GPU scatter, and how well do pairs show a change?

Times of kernels that are bound by memory, arithmetic and latency, and of one that is tiny: each
kernel (A) and a changed one (B) in interleaved pairs, A B B A, with the clocks at that time. Of the
recorded runs in benchmarks/gpu, or of new ones by `benchmarks/gpu/trace.cu`, whose output --trace
names: `nvcc -std=c++17 -O3 -arch=native -o trace benchmarks/gpu/trace.cu && ./trace > FILE`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import timing

_RECORDED = timing.ROOT / "benchmarks/gpu"
_HEADER = ["kernel", "change", "A", "scatter of A", "B to A", "scatter of B to A", "pairs"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trace", type=Path, nargs="+", default=sorted(_RECORDED.glob("*.json")), metavar="FILE"
    )
    for file in parser.parse_args().trace:
        trace = json.loads(file.read_text("utf-8"))
        print(f"\n{file.stem}: {trace['device']}, driver {trace['driver']}\n")
        print(timing.table(_HEADER, [*_rows(trace["series"])]))


def _rows(series: Sequence[Any]) -> Iterator[Sequence[str]]:
    for row in series:
        before = [pair[0] for pair in row["pairs"]]
        ratios = [pair[1] / pair[0] - 1 for pair in row["pairs"]]
        yield [
            row["kernel"],
            row["change"],
            f"{1000 * statistics.median(before):.1f} µs",
            _percent(statistics.pstdev(before) / statistics.mean(before)),
            f"{100 * statistics.median(ratios):+.2f} %",
            _percent(statistics.pstdev(ratios)),
            str(len(ratios)),
        ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
