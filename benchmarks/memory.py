"""How much memory does each verb take?

The peak of the largest process, the tool's own or one it starts; the engine's is not counted. In
the project, and where no image is needed in a synthetic repository of a thousand cells.
Target: within 300 MB.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import synthetic, timing

TARGET_BYTES = 300e6
CELL = "cuda13.0-debian12-x86_64"

VERBS = (
    ["why", CELL],
    ["lock", "--check"],
    ["generate", "--check"],
    ["plan"],
)
IN_THE_PROJECT = (
    ["build", "--select", CELL],
    ["build", "--force", "--select", CELL],
    ["run", "compile", CELL],
    ["doctor"],
)
SLOW = (["verify", "--no-bases", CELL],)


def main() -> None:
    parser = timing.arguments(__doc__, rounds=3)
    parser.add_argument("--slow", action="store_true", help="also `verify`, which rebuilds")
    options = parser.parse_args()
    timing.announce("Memory")
    project = (*VERBS, *IN_THE_PROJECT, *(SLOW if options.slow else ()))
    for verb in IN_THE_PROJECT:
        timing.run([*timing.ENVMATRIX, *verb])  # what is built once is not built below
    with TemporaryDirectory(prefix="envmatrix-memory-") as scratch:
        directory = Path(scratch)
        synthetic.make(directory, 1000)
        sides = {_name(verb): partial(timing.run, [*timing.ENVMATRIX, *verb]) for verb in project}
        sides |= {
            f"{_name(verb)}, 1,000 cells": partial(
                timing.run, [*timing.ENVMATRIX, *verb], directory
            )
            for verb in VERBS
        }
        rounds = timing.interleaved(sides, options.rounds, warm=False)
    rows = [
        [name, timing.megabytes(most := timing.peak(usages)), f"{most / TARGET_BYTES:.2f}"]
        for name, usages in rounds.items()
    ]
    print(timing.table(["verb", "peak RSS", "to 300 MB"], rows))


def _name(verb: list[str]) -> str:
    return f"`{' '.join(word for word in verb if word not in ('--select', CELL))}`"


if __name__ == "__main__":
    main()
