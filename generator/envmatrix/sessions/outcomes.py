"""What a session made, read from its files. Errors name the file that is wrong."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import binaries
from envmatrix.sessions.fatbins import NO_CODE, DeviceCode, device_code
from envmatrix.sessions.missing import Kind
from envmatrix.sessions.steps import COMPILATIONS


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a build made; `machine` is None where it is no program, `size` in bytes, `code`
    what there is in it for GPUs."""

    path: Path
    machine: str | None
    size: int
    code: DeviceCode = NO_CODE


# Of a test or a whole run. `flaky` passed, but only when tried again; `errored` did not get to a
# verdict; `killed` was not ended by itself.
State: TypeAlias = Literal["passed", "flaky", "failed", "errored", "skipped", "killed"]


# Those that tests are counted by, in the order that people read them.
COUNTED: Sequence[State] = ("passed", "flaky", "failed", "errored", "skipped")


@dataclass(frozen=True, slots=True)
class TestOutcome:
    __test__ = False  # pytest: this is no test class

    name: str
    state: State
    seconds: float
    message: str = ""
    attempts: int = 1
    output: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One program that a session ran, with its exit code; `log` is what it printed, cut in the
    middle where that is long."""

    name: str
    status: int
    seconds: float
    log: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    value: float
    unit: str
    direction: Literal["higher", "lower"]


def artifacts(build: Path, patterns: Sequence[str]) -> tuple[Artifact, ...]:
    """The files that match, links left out."""
    files = sorted({file for pattern in patterns for file in build.glob(pattern)})
    return tuple(
        _artifact(file, build) for file in files if file.is_file() and not file.is_symlink()
    )


def _artifact(file: Path, build: Path) -> Artifact:
    with file.open("rb") as handle:
        code = device_code(handle)
    return Artifact(file, machine_of(file, build), file.stat().st_size, code)


def machine_of(file: Path, build: Path | None = None) -> str | None:
    """The machine that a file is for; of a thin archive that of its members below `build`."""
    with file.open("rb") as handle:
        members = binaries.thin_members(handle) if build else ()
        found = binaries.machine(handle)
    inside = (file.parent / member for member in members)
    there = (its for its in inside if build and its.resolve().is_relative_to(build.resolve()))
    return binaries.together([found, *(machine_of(its) for its in there if its.is_file())])


# More files than that are not looked at to say what there is instead of artifacts.
_MOST_ENTRIES = 20_000


def entries(build: Path) -> Mapping[str, Kind]:
    """What is in a build directory, by its path in there."""
    found: dict[str, Kind] = {}
    for directory, directories, files in os.walk(build):
        for name in sorted((*directories, *files)):
            if len(found) == _MOST_ENTRIES:
                return found
            path = Path(directory, name)
            found[path.relative_to(build).as_posix()] = _kind(path)
    return found


def _kind(path: Path) -> Kind:
    if path.is_symlink():
        return "link"
    if path.is_dir():
        return "directory"
    return "binary" if path.is_file() and machine_of(path) else "file"


def check_machine(found: Sequence[Artifact], machine: str) -> None:
    """Raise where something was made for another machine."""
    wrong = [item for item in found if item.machine not in (None, machine)]
    if wrong:
        raise EnvmatrixError(f"`{wrong[0].path}` is for {wrong[0].machine}, the cell for {machine}")


def merged(first: Sequence[TestOutcome], again: Sequence[TestOutcome]) -> tuple[TestOutcome, ...]:
    """`first`, with what those that were tried again came to: one that passes now is flaky, and
    keeps what it said when it did not."""
    second = {its.name: its for its in again}
    return tuple(_tried(its, second.get(its.name)) for its in first)


def _tried(before: TestOutcome, after: TestOutcome | None) -> TestOutcome:
    if after is None:
        return before
    attempts = before.attempts + 1
    if after.state == "passed":
        return replace(before, state="flaky", seconds=after.seconds, attempts=attempts)
    return replace(after, attempts=attempts)


_SEVERITY: Sequence[State] = ("skipped", "passed", "flaky", "failed", "errored", "killed")


def worse(known: TestOutcome | None, found: TestOutcome) -> TestOutcome:
    """Of two outcomes of one name, such as those of sections, the worse, with the time of both."""
    if known is None:
        return found
    chosen = max(known, found, key=lambda its: _SEVERITY.index(its.state))
    return replace(chosen, seconds=known.seconds + found.seconds)


def measurements(text: str) -> tuple[Measurement, ...]:
    """The JSON that a benchmark prints: {"measurements": [{name, value, unit, direction}]}."""
    try:
        return tuple(map(_measurement, json.loads(text)["measurements"]))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise EnvmatrixError(f"the benchmark's output is not its JSON: {error}") from error


def _measurement(row: Any) -> Measurement:
    name, value, unit, direction = (row[key] for key in ("name", "value", "unit", "direction"))
    if not isinstance(name, str) or not isinstance(unit, str):
        raise TypeError(f"name and unit of {name!r} must be text")
    if direction not in ("higher", "lower"):
        raise ValueError(f"the direction of {name!r} is {direction!r}, not `higher` or `lower`")
    if not math.isfinite(float(value)):
        raise ValueError(f"the value of {name!r} is {value}")
    return Measurement(name, float(value), unit, direction)


# What CMake compiles to learn about a compiler, under names that are new each time.
_PROBE = re.compile(r"/CMakeScratch/|/CMakeFiles/(CMakeTmp/|\d)|/CMakeTmp/")


def cache_hits(build: Path) -> tuple[Measurement, ...]:
    """Return the share of compilations that came out of the compiler cache, in percent, and their
    number; nothing where nothing was compiled."""
    try:
        text = (build / COMPILATIONS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    found = [line.split(" ", 1) for line in text.splitlines() if " " in line]
    results = [result for result, output in found if not _PROBE.search(output)]
    if not results:
        return ()
    hits = 100 * results.count("hit") / len(results)
    return (
        Measurement("compiler cache hits", hits, "%", "higher"),
        Measurement("compilations", len(results), "files", "lower"),
    )
