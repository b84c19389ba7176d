"""What does a cell cost over the same build by hand, and what does a warm compiler cache save?

`envmatrix run compile` of a library, against its image started by `docker run` with the same
mounts, variables and commands: from an empty build directory with nothing in the compiler cache,
and with everything in it; and once more where all is built. Targets: at most 3 % or 0.5 s more
than by hand; a warm build at least ten times as fast as a cold one.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, get_args

from benchmarks import timing

from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell

CELL = "cuda13.5-debian12-x86_64"
LIBRARY = "vectorops"
State: TypeAlias = Literal["cold", "warm", "built"]
COMMANDS = (
    "CCACHE_BASEDIR=/build cmake -S /src -B /build --preset default"
    " && cmake --build /build --parallel 2"
    " && ninja -t graph >/dev/null && ninja -t deps >/dev/null"
)


def main() -> None:
    options = timing.arguments(__doc__, rounds=3).parse_args()
    timing.announce("A library in a cell and by hand")
    timing.run([*timing.ENVMATRIX, "run", "compile", CELL, "--jobs", "2"])
    with TemporaryDirectory(prefix="envmatrix-overhead-") as scratch:
        home = Path(scratch)
        sides = {
            f"{name}, {state}": partial(run, home / name, state)
            for state in get_args(State)
            for name, run in (("in a cell", _in_a_cell), ("by hand", _by_hand))
        }
        rounds = timing.interleaved(sides, options.rounds, warm=False)
    cold, warm = "in a cell, cold", "in a cell, warm"
    rows = [
        [
            name,
            timing.seconds(timing.wall(usages)),
            f"{timing.ratio(rounds, name, other):.3f}",
            timing.seconds(timing.wall(usages) - timing.wall(rounds[other])),
        ]
        for name, usages in rounds.items()
        for other in [name.replace("in a cell", "by hand")]
    ]
    print(timing.table(["", "wall", "to by hand", "more"], rows))
    print(f"cold to warm, in a cell: {timing.ratio(rounds, cold, warm):.1f}")


def _in_a_cell(cache: Path, state: State) -> timing.Usage:
    if state != "built":
        shutil.rmtree(timing.ROOT / "build" / CELL / LIBRARY / "devel", ignore_errors=True)
    timing.own_compiler_cache(cache, is_empty=state == "cold")
    environment = {"ENVMATRIX_CACHE": str(cache)}
    command = [*timing.ENVMATRIX, "run", "compile", CELL, "--jobs", "2"]
    return timing.run(command, environment=environment)


def _by_hand(home: Path, state: State) -> timing.Usage:
    if state != "built":
        shutil.rmtree(home / "build", ignore_errors=True)
    if state == "cold":
        shutil.rmtree(home / "ccache", ignore_errors=True)
    for name in ("build", "ccache"):
        (home / name).mkdir(parents=True, exist_ok=True)
    planned = find_cell(load_matrix(timing.ROOT), CELL)
    variables = {
        "CCACHE_DIR": "/ccache",
        "CCACHE_COMPILERCHECK": "string:by-hand",
        "CUDAARCHS": ";".join(planned.toolchain.sm),
        "HOME": "/tmp",  # noqa: S108 -- in the container
        **{f"CMAKE_{name}_COMPILER_LAUNCHER": "ccache" for name in ("C", "CXX", "CUDA")},
    }
    return timing.run(
        [
            *("docker", "run", "--rm", "--init", "--network=none", "--read-only"),
            *("--tmpfs=/tmp:exec,mode=1777", f"--user={os.getuid()}:{os.getgid()}"),
            f"--volume={timing.ROOT}/examples/{LIBRARY}:/src:ro",
            f"--volume={home}/build:/build",
            f"--volume={home}/ccache:/ccache",
            *(f"--env={name}={value}" for name, value in variables.items()),
            "--workdir=/build",
            f"envmatrix/{planned.environment}:devel-amd64",
            *("sh", "-euc", COMMANDS),
        ]
    )


if __name__ == "__main__":
    main()
