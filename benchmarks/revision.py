"""Is the tool slower than at an earlier revision?

Commands that have nothing to do, of this checkout and of a work tree of REVISION, in turns. Target
for `run compile`: 1.05.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing

CELL = "cuda13.5-debian12-x86_64"
COMMANDS = (("run", "compile", CELL), ("plan",), ("generate", "--check"))


def main() -> None:
    parser = timing.arguments(__doc__, rounds=15)
    parser.add_argument("revision", metavar="REVISION", help="such as HEAD~10")
    options = parser.parse_args()
    timing.announce(f"Against {options.revision}")
    rows = []
    with TemporaryDirectory(prefix="envmatrix-revision-") as scratch:
        tree = Path(scratch, "tree")
        git = ("git", "worktree")
        timing.run([*git, "add", "--detach", str(tree), options.revision])
        try:
            # What an earlier revision keeps is its own.
            before = {"ENVMATRIX_CACHE": f"{scratch}/cache", "PYTHONPATH": f"{tree}/generator"}
            for command in COMMANDS:
                argv = [*timing.ENVMATRIX, *command]
                sides: dict[str, timing.Side] = {
                    "now": partial(timing.run, argv),
                    options.revision: partial(timing.run, argv, tree, before),
                }
                rounds = timing.interleaved(sides, options.rounds)
                walls = [timing.seconds(timing.wall(usages)) for usages in rounds.values()]
                of_cpu = timing.ratio(rounds, "now", options.revision, of="cpu")
                of_wall = timing.ratio(rounds, "now", options.revision)
                rows.append([" ".join(command), *walls, f"{of_wall:.2f}", f"{of_cpu:.2f}"])
        finally:
            timing.run([*git, "remove", "--force", str(tree)])
    print(timing.table(["", "now", options.revision, "to that", "of CPU"], rows))


if __name__ == "__main__":
    main()
