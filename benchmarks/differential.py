"""Does the compiler cache ever return another object than the compiler makes?

hypothesis changes sources, headers, options, variables, compilers, response files and their order
at random; after each change one source is compiled with the cache and without it, in a container
as a cell has it, and objects and dependency files are compared byte by byte. The images have to be
in the engine (`envmatrix build`). Target: 0 of 1,000 changes differ.

sccache is in no image of this repository: `--sccache` takes the program of one, which is mounted.
It compiles no CUDA.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing
from hypothesis import HealthCheck, given, seed, settings
from tests.compilations import Change, Laboratory, State, changed, changes, laboratory

# A change in fifty or so becomes a compilation of CUDA that is the same as the last one.
_LANGUAGES = ("c", "cpp", "cpp", "cpp", "cu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", help="such as envmatrix/cuda12.4-debian12:cross-amd64")
    parser.add_argument("--changes", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--gcc", default="12", help="the version of the image's host compiler")
    parser.add_argument("--clang", help="the version of Clang, instead of GCC")
    parser.add_argument("--cuda-clang", action="store_true", help="that compiles CUDA as well")
    parser.add_argument("--triplet", default="", help="of the cross compiler, with a dash")
    parser.add_argument("--sccache", type=Path, metavar="PROGRAM")
    options = parser.parse_args()
    timing.announce("Objects with the compiler cache and without it")
    cache = "sccache" if options.sccache else "ccache"
    mounts = [f"{options.sccache.resolve()}:/usr/bin/sccache:ro"] if options.sccache else []
    names = [f"{name}-{options.gcc}" for name in ("gcc", "g++")]
    if options.clang:
        names = [f"{name}-{options.clang}" for name in ("clang", "clang++")]
    names += names[1:] if options.cuda_clang else []
    compilers = tuple(f"{options.triplet}{name}" for name in names)
    languages = ("c", "cpp") if options.sccache else _LANGUAGES
    with (
        TemporaryDirectory(prefix="envmatrix-differential-") as scratch,
        laboratory(Path(scratch), options.image, cache, compilers, mounts) as lab,
    ):
        began = time.monotonic()
        _explore(lab, languages, options.changes, options.seed)
        took = time.monotonic() - began
    counts = [f"{lab.results[name]}" for name in ("hit", "miss", "uncached", "failed")]
    row = [f"{cache}, {options.image}", f"{lab.compared}", *counts, "0", timing.seconds(took)]
    header = ["", "changes", "hits", "misses", "uncached", "do not compile", "differ", "wall"]
    print(timing.table(header, [row]))


def _explore(lab: Laboratory, languages: tuple[str, ...], count: int, number: int) -> None:
    """Check at least `count` states; a difference is shrunk to the fewest changes, and raised."""

    @seed(number)
    @settings(
        max_examples=max(1, count // 20),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes(languages))
    def explore(sequence: list[Change]) -> None:
        state = State()
        for change in sequence:
            if lab.compared >= count:
                return
            state = changed(state, change)
            lab.check(state)

    explore()


if __name__ == "__main__":
    main()
