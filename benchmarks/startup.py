"""What does it take to start, where there is little or nothing to do?

Commands of envmatrix against well-known programs that do as little:
  help     `envmatrix --help`, to Python itself: CPU
  why      `envmatrix why CELL`, to `import pydantic`: CPU
  completion  what a shell asks for at `envmatrix why cu`, to `import click`: CPU
  tier     the cells of a matrix of 1,210 as JSON, to CCCL's planner, whose workflow for weeks
           has 1,202 jobs, in a checkout that --cccl names: CPU
  build    `envmatrix build` of two images that are there, to `docker buildx bake --print`: CPU
  compile  `envmatrix run compile` with nothing to do, to `docker run` of ninja in the same image
           and build directory: wall
  noxw     `./noxw -s build-CELL`, to the same: wall
The images of the cell and its build are made before. All files are in a temporary directory,
which also goes after an interruption, but for the build and the recorded runs of the cell, which
are as after any run.
Targets: at most 3, 2, 2.5, 0.35, 1.5, 1.5 and 2.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import job_planning, synthetic, timing

from envmatrix.images.model import images_of
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell

CELL = "cuda12-aarch64"
LIBRARY = "vectorops"
TIER_CELLS = 1210


class Question(NamedTuple):
    """A command of envmatrix, what it is compared with, of which kind of time, and the target."""

    command: str
    other: str
    of: str
    target: float
    sides: tuple[timing.Side, timing.Side]


def main() -> None:
    parser = timing.arguments(__doc__, rounds=15)
    parser.add_argument("--cccl", type=Path, metavar="DIR", help="a checkout of CCCL")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="such as `help` and `why`")
    options = parser.parse_args()
    timing.announce("Starting")
    with TemporaryDirectory(prefix="envmatrix-startup-") as scratch:
        questions = dict(_questions(Path(scratch), options.cccl, options.only))
        sides = {
            f"{name}, {role}": side
            for name, question in questions.items()
            for role, side in zip(("envmatrix", "other"), question.sides, strict=True)
        }
        rounds = timing.interleaved(sides, options.rounds)
    print(timing.table(_HEADER, [_row(name, questions[name], rounds) for name in questions]))


_HEADER = ["", "to", "of", "envmatrix", "other", "ratio", "target"]


def _questions(
    scratch: Path, cccl: Path | None, only: Sequence[str] | None
) -> Iterator[tuple[str, Question]]:
    makers: Mapping[str, Callable[[], Question]] = {
        "help": _help,
        "why": _why,
        "completion": _completion,
        **({"tier": partial(_tier, scratch, cccl)} if cccl else {}),
        "build": partial(_build, scratch),
        "compile": _compile,
        "noxw": _noxw,
    }
    for name in only or makers:
        yield name, makers[name]()


def _help() -> Question:
    sides = _envmatrix("--help"), partial(timing.run, [sys.executable, "-c", "pass"])
    return Question("envmatrix --help", "python -c pass", "cpu", 3, sides)


def _why() -> Question:
    other = partial(timing.run, [sys.executable, "-c", "import pydantic"])
    return Question(
        "envmatrix why CELL", "import pydantic", "cpu", 2, (_envmatrix("why", CELL), other)
    )


def _completion() -> Question:
    """Compare with click, which answers the shell."""
    variables = ["_ENVMATRIX_COMPLETE=bash_complete", "COMP_WORDS=envmatrix why cu", "COMP_CWORD=2"]
    own = partial(timing.run, ["env", *variables, *timing.ENVMATRIX])
    other = partial(timing.run, [sys.executable, "-c", "import click.shell_completion"])
    return Question("envmatrix why CE<TAB>", "import click", "cpu", 2.5, (own, other))


def _tier(scratch: Path, cccl: Path) -> Question:
    directory = scratch / "tier"
    synthetic.make(directory, TIER_CELLS)
    plan = [*timing.ENVMATRIX, "plan", "--tier", "weekly", "--json", "--quiet"]
    cells = len(json.loads(timing.output(plan, directory))["cells"])
    planner = job_planning.side_of_cccl(cccl, scratch / "cccl", 1)
    return Question(
        f"envmatrix plan --tier weekly --json, {cells:,} cells",
        "CCCL's planner",
        "cpu",
        0.35,
        (partial(timing.run, plan, directory), planner),
    )


def _build(scratch: Path) -> Question:
    """Compare with the definitions of two targets, which is the least that can be asked for."""
    targets = {name: {"dockerfile-inline": "FROM scratch"} for name in ("compiler", "runtime")}
    file = scratch / "docker-bake.json"
    document = {"group": {"default": {"targets": [*targets]}}, "target": targets}
    file.write_text(json.dumps(document), encoding="utf-8")
    timing.run([*timing.ENVMATRIX, "build", CELL])
    bake = ["docker", "buildx", "bake", "--print", "--file", str(file)]
    sides = _envmatrix("build", CELL), partial(timing.run, bake, scratch)
    return Question("envmatrix build CELL", "docker buildx bake --print", "cpu", 1.5, sides)


def _compile() -> Question:
    own = _envmatrix("run", "compile", CELL, "--library", LIBRARY)
    return Question("envmatrix run compile CELL", "docker run, ninja", "wall", 1.5, (own, _ninja()))


def _noxw() -> Question:
    own = partial(timing.run, ["./noxw", "-s", f"build-{CELL}", "--", "--library", LIBRARY])
    return Question("./noxw -s build-CELL", "docker run, ninja", "wall", 2, (own, _ninja()))


def _envmatrix(*words: str) -> timing.Side:
    return partial(timing.run, [*timing.ENVMATRIX, *words])


def _ninja() -> timing.Side:
    """Return ninja in the image and the build directory of the cell, with the limits of one."""
    cell = find_cell(load_matrix(timing.ROOT), CELL)
    compiler = images_of(cell, host_arch())[0]
    build = timing.ROOT / "build" / cell.id / LIBRARY / compiler.flavour
    return partial(
        timing.run,
        [
            *("docker", "run", "--rm", "--init", "--network=none", "--read-only"),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp:exec,mode=1777"),
            f"--user={os.getuid()}:{os.getgid()}",
            f"--volume={timing.ROOT}/examples/{LIBRARY}:/src:ro",
            f"--volume={build}:/build",
            "--workdir=/build",
            compiler.reference,
            "ninja",
        ],
    )


def _row(name: str, question: Question, rounds: timing.Rounds) -> Sequence[str]:
    own, other = (f"{name}, {role}" for role in ("envmatrix", "other"))
    seconds = (getattr(timing, question.of)(rounds[side]) for side in (own, other))
    return [
        f"`{question.command}`",
        question.other,
        "CPU" if question.of == "cpu" else question.of,
        *(f"{value * 1000:.0f} ms" for value in seconds),
        f"{timing.ratio(rounds, own, other, of=question.of):.2f}",
        f"{question.target}",
    ]


if __name__ == "__main__":
    main()
