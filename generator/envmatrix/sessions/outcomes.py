"""What a session made, read from its files. Errors name the file that is wrong."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from envmatrix.confined import Directory, Entry, File, Refused
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import binaries
from envmatrix.sessions.steps import COMPILATIONS
from envmatrix.text import one_line

if TYPE_CHECKING:
    from envmatrix.sessions.missing import Kind


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a build made, by its path in the build directory; `machine` is None where it is
    no program, `size` in bytes."""

    path: PurePosixPath
    machine: str | None
    size: int
    sha256: str = ""


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


# The most that artifacts of a library may have together, in bytes: all of them are hashed.
_LARGEST_ARTIFACTS = 16 << 30


def artifacts(build: Directory, patterns: Sequence[str]) -> tuple[Artifact, ...]:
    """The files that match, links left out."""
    files = build.files(patterns)
    if sum(file.size for file in files) > _LARGEST_ARTIFACTS:
        largest = max(files, key=lambda file: file.size)
        raise EnvmatrixError(
            f"the library's `artifacts` have more than {_LARGEST_ARTIFACTS >> 30} GB",
            hint=f"the largest is `{one_line(largest.name)}`; make the patterns match less",
        )
    return tuple(_artifact(build, file) for file in files)


def _artifact(build: Directory, file: File) -> Artifact:
    if not file.name.isprintable():
        raise EnvmatrixError(
            f"the artifact `{one_line(file.name)}` has a name that cannot be printed",
            hint="give the file another name, or make `artifacts` match less",
        )
    sha256 = build.sha256(file.name, _LARGEST_ARTIFACTS)
    machine = machine_of(build, file.name)
    return Artifact(PurePosixPath(file.name), machine, file.size, sha256)


def machine_of(build: Directory, name: str) -> str | None:
    """The machine that a file is for; of a thin archive that of its members in the build
    directory."""
    with build.open(name) as handle:
        members = binaries.thin_members(handle)
        found = binaries.machine(handle)
    inside = (posixpath.normpath(posixpath.join(posixpath.dirname(name), its)) for its in members)
    return binaries.together([found, *(_machine_of_member(build, its) for its in inside)])


def _machine_of_member(build: Directory, name: str) -> str | None:
    try:
        with build.open(name) as handle:
            return binaries.machine(handle)
    except Refused:  # outside, or no file
        return None


# More files than that are not looked at to say what there is instead of artifacts.
_MOST_ENTRIES = 20_000


def entries(build: Directory) -> Mapping[str, Kind]:
    """What is in a build directory, by its path in there."""
    return {entry.name: _kind(build, entry) for entry in sorted(build.entries(_MOST_ENTRIES))}


def _kind(build: Directory, entry: Entry) -> Kind:
    is_binary = entry.kind == "file" and _machine_of_member(build, entry.name)
    return "binary" if is_binary else entry.kind


def check_machine(found: Sequence[Artifact], machine: str) -> None:
    """Raise where something was made for another machine."""
    wrong = [item for item in found if item.machine not in (None, machine)]
    if wrong:
        raise EnvmatrixError(f"`{wrong[0].path}` is for {wrong[0].machine}, the cell for {machine}")


def merged(first: Sequence[TestOutcome], again: Sequence[TestOutcome]) -> tuple[TestOutcome, ...]:
    """`first`, with what those that were tried again came to: one that passes now is flaky, and
    keeps what it said when it did not."""
    second = {its.name: its for its in of_each(again)}
    return tuple(_tried(its, second.get(its.name)) for its in of_each(first))


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


def of_each(found: Iterable[TestOutcome]) -> tuple[TestOutcome, ...]:
    """One outcome of each name: the worst of those that have it."""
    worst: dict[str, TestOutcome] = {}
    for its in found:
        worst[its.name] = worse(worst.get(its.name), its)
    return tuple(worst.values())


# What a list of tests or of measurements may have, in characters.
_LARGEST_LIST = 16 << 20


def bounded(text: str) -> str:
    """`text`; ValueError where it is longer than anything that is read as a whole."""
    if len(text) > _LARGEST_LIST:
        raise ValueError(f"it has more than {_LARGEST_LIST >> 20} MB")
    return text


def measurements(text: str) -> tuple[Measurement, ...]:
    """The JSON that a benchmark prints: {"measurements": [{name, value, unit, direction}]}."""
    try:
        return tuple(map(_measurement, json.loads(bounded(text))["measurements"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
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


def cache_hits(build: Directory) -> tuple[Measurement, ...]:
    """Return the share of compilations that came out of the compiler cache, in percent, and their
    number; nothing where nothing was compiled."""
    try:
        text = build.text(COMPILATIONS)
    except Refused:
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
