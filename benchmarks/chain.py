"""Are libraries that need each other compiled and tested in their order, natively and crossed?

The libraries of examples/chain are compiled and tested in all of its cells, in build/chain, and
each has a row for each cell in the table. Further arguments go to `envmatrix test`, such as
`--rerun`.
Target: no failure.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import timing

_ENVMATRIX = (sys.executable, "-m", "envmatrix")
_EXAMPLE = timing.ROOT / "examples/chain"
_PLACE = timing.ROOT / "build/chain"
_HEAD = ("library", "cell", "compiled", "tests", "passed", "failed", "skipped")
_BAD = ("failed", "errored")


def main() -> None:
    lock = _PLACE / "matrix.lock.json"
    shutil.copytree(_EXAMPLE, _PLACE, dirs_exist_ok=True)
    if not lock.exists():
        shutil.copy(timing.ROOT / lock.name, lock)
    for verb in ("lock", "generate"):
        subprocess.run([*_ENVMATRIX, verb], cwd=_PLACE, check=True)
    command = [*_ENVMATRIX, "test", "--json", *sys.argv[1:]]
    done = subprocess.run(command, cwd=_PLACE, stdout=subprocess.PIPE, text=True, check=False)
    jobs = json.loads(done.stdout).get("jobs", ())
    print("\n".join(_aligned([_HEAD, *rows(jobs)])))
    sys.exit(done.returncode)


def rows(jobs: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    """Yield the row of each library in a cell: how its jobs ended, in which time, and its tests."""
    by_place: defaultdict[tuple[str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for job in jobs:
        if job["kind"] in ("compile", "test"):
            library, cell, *_ = job["subject"]
            by_place[cell, library][job["kind"]] = job
    for (cell, library), kinds in sorted(by_place.items()):
        tests = kinds.get("test", {}).get("tests", {})
        failed = sum(tests.get(state, 0) for state in _BAD)
        numbers = (tests.get("passed", 0), failed, tests.get("skipped", 0))
        ends = (_end(kinds.get(kind)) for kind in ("compile", "test"))
        yield (library, cell, *ends, *map(str, numbers))


def _end(job: Mapping[str, Any] | None) -> str:
    return f"{job['state']}, {job['seconds']:.0f} s" if job else ""


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        words = (word.ljust(width) for word, width in zip(row, widths, strict=True))
        yield "  ".join(words).rstrip()


if __name__ == "__main__":
    main()
