"""How much of a library's tests does a change reach?

The library is built once; then for every commit of its own history, the tests that its files reach
against all of them; and for each of its source files alone. What no test that is known is made of
runs everything, and is counted as that.
"""

from __future__ import annotations

import subprocess
from statistics import mean

from benchmarks import timing

from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell
from envmatrix.sessions.buildsystems import DEPS, GRAPH
from envmatrix.sessions.dependencies import (
    build_of,
    commands_of,
    dependencies,
    of_library,
    selection,
)

CELL = "cuda13.5-debian12-x86_64"


def main() -> None:
    parser = timing.arguments(__doc__, rounds=1)
    parser.add_argument("--library", default="vectorops")
    given = parser.parse_args()
    timing.announce("What commits reach")
    timing.run([*timing.ENVMATRIX, "run", "test", CELL, "--library", given.library])
    matrix = load_matrix(timing.ROOT)
    (library,) = (its for its in matrix.libraries if its.name == given.library)
    build = timing.ROOT / "build" / find_cell(matrix, CELL).id / library.name / "devel"
    tests = commands_of(its.read_text() for its in build.rglob("CTestTestfile.cmake"))
    known = dependencies(
        build_of((build / GRAPH).read_text(), (build / DEPS).read_text()), tests, "/src"
    )
    rows = []
    for commit in _git("log", "--format=%h", "--", library.path).split():
        changed = _git("show", "--format=", "--name-only", commit).split("\n")
        inside, _ = of_library(list(filter(None, changed)), library.path)
        found = selection(known, list(tests), inside, ["*.md"])
        count = len(tests) if found.tests is None else len(found.tests)
        rows.append([commit, str(len(inside)), f"{count} of {len(tests)}", found.reason])
    print(timing.table(["commit", "files", "tests", "why"], rows))
    sources = sorted({name for files in known.values() for name in files})
    reached = [sum(name in files for files in known.values()) / len(tests) for name in sources]
    share = 100 * mean(reached)
    print(f"one of {len(sources)} files reaches {share:.0f} % of the tests in the mean")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(timing.ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
