"""Results of sessions, parsed from their files. Errors name the invalid file."""

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
    from envmatrix.sessions.missing_artifacts import Kind


@dataclass(frozen=True, slots=True)
class Artifact:
    """File that a build made, by its path in the build directory; `machine` is None where it has no
    machine code, `size` is in bytes."""

    path: PurePosixPath
    machine: str | None
    size: int
    sha256: str = ""


# Of a test or a whole run. `flaky` passed, but only when tried again; `errored` did not get to a
# verdict; `killed` was not ended by itself.
State: TypeAlias = Literal["passed", "flaky", "failed", "errored", "skipped", "killed"]


# States that summaries count, in their order.
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
    """Program that a session ran, with its exit code; `log` is its output, cut in the middle where
    that is long."""

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
    """Return the files that match, without links."""
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
    """Return the machine of a file; for a thin archive that of its members in the build
    directory."""
    with build.open(name) as handle:
        members = binaries.thin_members(handle)
        file_machine = binaries.machine(handle)
    paths = (
        posixpath.normpath(posixpath.join(posixpath.dirname(name), member)) for member in members
    )
    return binaries.join_machines(
        [file_machine, *(_machine_of_member(build, member) for member in paths)]
    )


def _machine_of_member(build: Directory, name: str) -> str | None:
    try:
        with build.open(name) as handle:
            return binaries.machine(handle)
    except Refused:  # outside, or no file
        return None


# More files than that are not looked at to say what there is instead of artifacts.
_MOST_ENTRIES = 20_000


def entries(build: Directory) -> Mapping[str, Kind]:
    """Return the kinds of entries of a build directory, by path."""
    return {entry.name: _kind(build, entry) for entry in sorted(build.entries(_MOST_ENTRIES))}


def _kind(build: Directory, entry: Entry) -> Kind:
    is_binary = entry.kind == "file" and _machine_of_member(build, entry.name)
    return "binary" if is_binary else entry.kind


def check_machine(artifacts: Sequence[Artifact], machine: str) -> None:
    """Raise EnvmatrixError where an artifact is for another machine."""
    wrong = [item for item in artifacts if item.machine not in (None, machine)]
    if wrong:
        raise EnvmatrixError(f"`{wrong[0].path}` is for {wrong[0].machine}, the cell for {machine}")


def merge_retries(
    first: Sequence[TestOutcome], retried: Sequence[TestOutcome]
) -> tuple[TestOutcome, ...]:
    """Merge the outcomes of retries into `first`: a test that passes on a retry is flaky, and keeps
    the message of its failure."""
    retries = {outcome.name: outcome for outcome in worst_by_name(retried)}
    return tuple(
        _with_retry(outcome, retries.get(outcome.name)) for outcome in worst_by_name(first)
    )


def _with_retry(first: TestOutcome, retry: TestOutcome | None) -> TestOutcome:
    if retry is None:
        return first
    attempts = first.attempts + 1
    if retry.state == "passed":
        return replace(first, state="flaky", seconds=retry.seconds, attempts=attempts)
    return replace(retry, attempts=attempts)


_SEVERITY: Sequence[State] = ("skipped", "passed", "flaky", "failed", "errored", "killed")


def worse_outcome(first: TestOutcome | None, second: TestOutcome) -> TestOutcome:
    """Return the worse of two outcomes with the same name, such as those of sections, with their
    total time."""
    if first is None:
        return second
    worst = max(first, second, key=lambda outcome: _SEVERITY.index(outcome.state))
    return replace(worst, seconds=first.seconds + second.seconds)


def worst_by_name(outcomes: Iterable[TestOutcome]) -> tuple[TestOutcome, ...]:
    """Return one outcome for each name: the worst."""
    by_name: dict[str, TestOutcome] = {}
    for outcome in outcomes:
        by_name[outcome.name] = worse_outcome(by_name.get(outcome.name), outcome)
    return tuple(by_name.values())


# Longest list of tests or of measurements, in characters.
_LARGEST_LIST = 16 << 20


def bounded(text: str) -> str:
    """Return `text`; ValueError where it is too long to be parsed as a whole."""
    if len(text) > _LARGEST_LIST:
        raise ValueError(f"it has more than {_LARGEST_LIST >> 20} MB")
    return text


def measurements(text: str) -> tuple[Measurement, ...]:
    """Parse a benchmark's JSON: {"measurements": [{name, value, unit, direction}]}."""
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


# CMake's compiler checks, under names that are new each time.
_PROBE = re.compile(r"/CMakeScratch/|/CMakeFiles/(CMakeTmp/|\d)|/CMakeTmp/")


def cache_hits(build: Directory) -> tuple[Measurement, ...]:
    """Return the hit rate of the compiler cache, in percent, and the number of compilations;
    nothing where nothing was compiled."""
    try:
        text = build.text(COMPILATIONS)
    except Refused:
        return ()
    rows = [line.split(" ", 1) for line in text.splitlines() if " " in line]
    results = [result for result, output in rows if not _PROBE.search(output)]
    if not results:
        return ()
    hits = 100 * results.count("hit") / len(results)
    return (
        Measurement("compiler cache hits", hits, "%", "higher"),
        Measurement("compilations", len(results), "files", "lower"),
    )
