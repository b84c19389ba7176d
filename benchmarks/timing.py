"""Programs measured side by side: what they use, and how they compare.

Machines differ and are busy, so what counts is a ratio. The sides of a comparison take turns; each
round gives one ratio, and the median of the rounds is the result.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile

from envmatrix.store.artifacts import cache_directory
from envmatrix.store.trust import DIRECTORY as OBJECTS

ROOT = Path(__file__).parents[1]
ENVMATRIX = (sys.executable, "-m", "envmatrix")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds on the clock, seconds of CPU, bytes of the largest process; children count."""

    wall: float
    cpu: float
    peak: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


Side = Callable[[], Usage]
Rounds = Mapping[str, Sequence[Usage]]


def run(
    argv: Sequence[str], directory: Path = ROOT, environment: Mapping[str, str] | None = None
) -> Usage:
    """What `argv` uses, as a fresh process; SystemExit with its output where it fails.

    A process starts with the size of the one that starts it: `peak` is right for what is larger
    than the caller. A container's work belongs to the engine and is not in `cpu`. Python keeps
    what it compiled, as it does where nobody says otherwise.
    """
    variables = {**os.environ, **(environment or {})}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    with TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=directory, env=variables, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")
            sys.exit(f"{' '.join(argv)} ended with {process.returncode}:\n{said}")
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def own_compiler_cache(cache: Path, *, is_empty: bool = True) -> Path:
    """Have in `cache` what the user's own cache has, but for the compiler's."""
    if is_empty:
        shutil.rmtree(cache / OBJECTS, ignore_errors=True)
    cache.mkdir(exist_ok=True)
    for entry in cache_directory().iterdir():
        link = cache / entry.name
        if entry.name != OBJECTS and not link.exists():
            link.symlink_to(entry)
    return cache


def output(
    argv: Sequence[str], directory: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    """What `argv` prints, whether it fails or not."""
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(
        argv, cwd=directory, env=variables, capture_output=True, text=True, check=False
    )
    return done.stdout


def timed(action: Callable[[], object]) -> Usage:
    """What `action` takes in this process and the programs that it waits for."""
    before, started = os.times(), time.perf_counter()
    action()
    after, wall = os.times(), time.perf_counter() - started
    return Usage(wall, sum(after[:4]) - sum(before[:4]))


def interleaved(sides: Mapping[str, Side], rounds: int, *, warm: bool = True) -> Rounds:
    """Every side in every round; `warm` runs each once before what counts."""
    for side in sides.values() if warm else ():
        side()
    found: dict[str, list[Usage]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            found[name].append(side())
    return found


def wall(usages: Iterable[Usage]) -> float:
    return median(usage.wall for usage in usages)


def cpu(usages: Iterable[Usage]) -> float:
    return median(usage.cpu for usage in usages)


def peak(usages: Iterable[Usage]) -> int:
    return max(usage.peak for usage in usages)


def ratio(rounds: Rounds, side: str, other: str, *, of: str = "wall") -> float:
    """How much `side` takes of what `other` takes, each round compared with itself."""
    pairs = zip(rounds[side], rounds[other], strict=True)
    return median(float(getattr(one, of) / getattr(two, of)) for one, two in pairs)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; all columns but the first are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.1f} MB"


def arguments(question: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A parser that explains the benchmark by its docstring."""
    parser = argparse.ArgumentParser(
        description=question, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help=f"how often; default {rounds}"
    )
    return parser


def announce(title: str) -> None:
    """The benchmark's name, and the facts without which its numbers mean nothing."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(
        f"## {title}\n\n"
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"
        f" at the start; Linux {platform.release()}, Python {platform.python_version()},"
        f" nox {metadata.version('nox')}, {_engine()}.\n",
        flush=True,
    )


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _engine() -> str:
    engine = _said("docker", "version", "--format", "{{.Server.Version}}")
    buildx = re.search(r"\d+\.\d+\.\d+", _said("docker", "buildx", "version"))
    return f"Docker {engine}, buildx {buildx[0] if buildx else 'none'}" if engine else "no engine"


def _said(*argv: str) -> str:
    try:
        return output(argv).strip()
    except FileNotFoundError:
        return ""
