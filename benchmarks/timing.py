"""Measure programs side by side, and compare their usage.

Machines differ and are busy, so what counts is a ratio. The sides of a comparison take turns; each
round gives one ratio, and the median of the rounds is the result.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile

from envmatrix.machine.cache import cache_directory
from envmatrix.machine.trust import DIRECTORY as OBJECTS

ROOT = Path(__file__).parents[1]
ENVMATRIX = (sys.executable, "-m", "envmatrix")


@dataclass(frozen=True, slots=True)
class Usage:
    """Wall seconds, CPU seconds, and bytes of the largest process, including children."""

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
    """Run `argv` in a fresh process; return its usage, or exit with its output if it fails.

    A process starts with the size of the one that starts it: `peak` is right for what is larger
    than the caller. A container's work belongs to the engine and is not in `cpu`. Python caches
    compiled modules, as it does by default.
    """
    variables = {**os.environ, **(environment or {})}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    with TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=directory, env=variables, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")
            sys.exit(f"{' '.join(argv)} ended with {process.returncode}:\n{text}")
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def own_compiler_cache(cache: Path, *, is_empty: bool = True) -> Path:
    """Link the user's cache into `cache`, except for compiled objects; return `cache`."""
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
    """Return the standard output of `argv`, even if it fails."""
    variables = {**os.environ, **(environment or {})}
    process = subprocess.run(
        argv, cwd=directory, env=variables, capture_output=True, text=True, check=False
    )
    return process.stdout


def timed(action: Callable[[], object]) -> Usage:
    """Return the usage of `action` in this process and the programs that it waits for."""
    before, started = _cpu_seconds(), time.perf_counter()
    action()
    return Usage(time.perf_counter() - started, _cpu_seconds() - before)


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process, exactly, and of its children, in hundredths."""
    return time.process_time() + sum(os.times()[2:4])


def interleaved(sides: Mapping[str, Side], rounds: int, *, warm: bool = True) -> Rounds:
    """Run every side in every round; with `warm`, run each once before, without counting it."""
    for side in sides.values() if warm else ():
        side()
    usages: dict[str, list[Usage]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            usages[name].append(side())
    return usages


def wall(usages: Iterable[Usage]) -> float:
    return median(usage.wall for usage in usages)


def cpu(usages: Iterable[Usage]) -> float:
    return median(usage.cpu for usage in usages)


def peak(usages: Iterable[Usage]) -> int:
    return max(usage.peak for usage in usages)


def ratio(rounds: Rounds, side: str, other: str, *, of: str = "wall") -> float:
    """Return the median over all rounds of the ratio of `side` to `other`."""
    pairs = zip(rounds[side], rounds[other], strict=True)
    return median(
        float(getattr(usage, of) / getattr(other_usage, of)) for usage, other_usage in pairs
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.1f} MB"


def arguments(question: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the benchmark's docstring as description."""
    parser = argparse.ArgumentParser(
        description=question, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help=f"how often; default {rounds}"
    )
    return parser


def announce(title: str) -> None:
    """Print the benchmark's name, and the machine and versions that it runs with. From here on, the
    benchmark ends at SIGTERM as at Ctrl+C, and removes what it made."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(
        f"## {title}\n\n"
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"
        f" at the start; Linux {platform.release()}, Python {platform.python_version()},"
        f" nox {metadata.version('nox')}, {_engine()}.\n",
        flush=True,
    )


def _processor() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _engine() -> str:
    engine = _output_of("docker", "version", "--format", "{{.Server.Version}}")
    buildx = re.search(r"\d+\.\d+\.\d+", _output_of("docker", "buildx", "version"))
    return f"Docker {engine}, buildx {buildx[0] if buildx else 'none'}" if engine else "no engine"


def _output_of(*argv: str) -> str:
    try:
        return output(argv).strip()
    except FileNotFoundError:
        return ""
