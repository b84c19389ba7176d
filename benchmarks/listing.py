"""What does listing thousands of sessions cost beside nox itself?

`nox -l` of
  nothing  a noxfile with one session: what nox costs
  warm     the project's noxfile in a synthetic repository, the names in the cache
  cold     the same without the cache
  plain    a noxfile that defines sessions of the same names, and does nothing else
  one      the project's noxfile, asked for one session: `nox -l -s NAME`
Targets: warm within 1.5 times of nothing, with 2,000 sessions; one within twice of nothing, with
4,000 cells: `--cells 4000 --sides nothing one`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import synthetic, timing

NOX = (sys.executable, "-m", "nox", "-l", "-f")
ONE = "build-cuda13.0-debian12-x86_64"
_SIDES = ("nothing", "cold", "warm", "plain", "one")

PLAIN = """\
import nox

def add(name, text):
    def run(session):
        pass
    run.__doc__ = text
    nox.session(name=name, default=False)(run)

for name, text in {sessions!r}:
    add(name, text)
"""


def main() -> None:
    parser = timing.arguments(__doc__, rounds=15)
    parser.add_argument("--cells", type=int, default=255, help="255 make about 2,000 sessions")
    parser.add_argument("--sides", nargs="+", choices=_SIDES, default=_SIDES, help="what to run")
    options = parser.parse_args()
    timing.announce("Listing sessions")
    with TemporaryDirectory(prefix="envmatrix-listing-") as scratch:
        directory, cache = Path(scratch, "repository"), Path(scratch, "cache")
        synthetic.make(directory, options.cells)
        shutil.copy(timing.ROOT / "noxfile.py", directory)
        environment = {"ENVMATRIX_CACHE": str(cache)}
        needs_names = not {"nothing", "one"}.issuperset(options.sides)
        sessions = _sessions(directory / "noxfile.py", environment) if needs_names else ()
        sides = _sides(directory, _noxfiles(Path(scratch), sessions), environment)
        selected = {name: side for name, side in sides.items() if name in options.sides}
        rounds = timing.interleaved(selected, options.rounds)
    print(f"{len(sessions):,} sessions\n" if sessions else f"{options.cells:,} cells\n")
    rows = [
        [
            name,
            timing.seconds(timing.wall(usages)),
            timing.seconds(timing.cpu(usages)),
            _ratio(rounds, name, "nothing"),
            _ratio(rounds, name, "plain"),
        ]
        for name, usages in rounds.items()
    ]
    print(timing.table(["`nox -l`", "wall", "CPU", "CPU to nothing", "CPU to plain"], rows))


def _ratio(rounds: timing.Rounds, side: str, other: str) -> str:
    return f"{timing.ratio(rounds, side, other, of='cpu'):.2f}" if other in rounds else ""


def _sides(
    directory: Path, noxfiles: Mapping[str, Path], environment: Mapping[str, str]
) -> Mapping[str, timing.Side]:
    warm = partial(timing.run, [*NOX, "noxfile.py"], directory, environment)
    one = partial(timing.run, [*NOX, "noxfile.py", "-s", ONE], directory, environment)

    def cold() -> timing.Usage:
        shutil.rmtree(environment["ENVMATRIX_CACHE"], ignore_errors=True)
        return warm()

    plain = {
        name: partial(timing.run, [*NOX, str(file)], directory) for name, file in noxfiles.items()
    }
    # The side after `cold` finds the cache that it wrote.
    return {
        "nothing": plain["nothing"],
        "cold": cold,
        "warm": warm,
        "plain": plain["plain"],
        "one": one,
    }


def _noxfiles(scratch: Path, sessions: Sequence[tuple[str, str]]) -> Mapping[str, Path]:
    texts = {
        "nothing": PLAIN.format(sessions=[("nothing", "")]),  # nox fails where there is none
        "plain": PLAIN.format(sessions=list(sessions)),
    }
    for name, text in texts.items():
        (scratch / f"{name}.py").write_text(text, encoding="utf-8")
    return {name: scratch / f"{name}.py" for name in texts}


def _sessions(noxfile: Path, environment: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Return name and description of each session, as nox lists them."""
    listing = timing.output([*NOX, noxfile.name], noxfile.parent, environment)
    lines = (
        line[2:].partition(" -> ") for line in listing.splitlines() if line[:2] in ("- ", "* ")
    )
    return [(name, text) for name, _, text in lines]


if __name__ == "__main__":
    main()
