"""Interface of test frameworks, and command lines of test programs, each with as many test names as
fit. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Protocol

from envmatrix.records import dataclass
from envmatrix.sessions.context import BUILD, BuildContext
from envmatrix.sessions.junit import LONGEST_NAME, Case
from envmatrix.sessions.outcomes import State, bounded, parse_errors
from envmatrix.sessions.test_dependencies import Test

# Where frameworks write their reports, in the build directory.
REPORTS = "reports"
# Limit of the names of one batch on its command line, in bytes. Linux has 128 KB for an argument.
_ARGUMENT = 64 << 10
# Overhead of an argument, or of an alternative of an expression, in bytes.
_EACH = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Command line that runs tests. `report` is a glob in the build directory for the JUnit files
    that it writes; without one its exit code is the outcome of the only test, `program`. `label` is
    the prefix of its tests' names; `tests` are the selected ones, empty for all; `step` is the one
    whose log has its output."""

    argv: Sequence[str]
    report: str | None
    program: str = ""
    directory: str = BUILD
    needs_compiler: bool = False
    label: str = ""
    tests: Sequence[str] = ()
    step: str = "test"

    def qualified_name(self, name: str) -> str:
        """Return the name of a test of its program, of which each may have one of this name."""
        return f"{self.label}:{name}"

    def bare_name(self, name: str) -> str:
        """Return the name of a test as its program has it."""
        return name.removeprefix(f"{self.label}:")

    def with_arguments(self, *arguments: str) -> Batch:
        return replace(self, argv=[*self.argv, *arguments])


def split(
    batch: Batch,
    selected: Iterable[str] | None,
    most: int = _ARGUMENT,
    spelled: Callable[[str], str] = str,
) -> Sequence[Batch]:
    """Return a batch for each part of the selected tests that has at most `most` bytes as they are
    `spelled`; a longer name has its own. Return the batch itself for all tests."""
    if selected is None:
        return [batch]
    parts: list[list[str]] = []
    size = most
    for name in selected:
        length = len(spelled(name).encode()) + _EACH
        if size + length > most:
            parts.append([])
            size = 0
        parts[-1].append(name)
        size += length
    return [replace(batch, tests=part) for part in parts]


def program_batches(
    programs: Sequence[str], selected: Sequence[str] | None = None
) -> Iterator[Batch]:
    """Yield each program with parts of its selected tests, without the programs that have none; all
    tests are selected also where the program itself is. Its tests have its base name as a prefix,
    or, where several programs share that, its path in the build directory."""
    count = Counter(PurePosixPath(program).name for program in programs)
    for program in programs:
        name = PurePosixPath(program).name
        label = name if count[name] == 1 else program.removeprefix(f"{BUILD}/")
        report = f"{REPORTS}/{label.replace('/', '_')}.xml"
        batch = Batch([program], report, program, label=label)
        if selected is None or program in selected:
            yield batch
        else:
            own_tests = [name for name in selected if name.startswith(f"{label}:")]
            yield from split(batch, own_tests, spelled=batch.bare_name)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a framework is started with: the library's `run`, or the programs that it matches; the
    names of the `selected` tests, None for all; and options."""

    context: BuildContext
    run: Sequence[str] = ()
    selected: Sequence[str] | None = None
    arguments: Sequence[str] = ()


class Framework(Protocol):
    """A test framework: how it lists its tests, runs some of them, and names them. `tells_why` if
    messages in reports describe the failure; `narrowing` matches the framework's own options that
    leave out tests or end early; `environment` are variables that it needs; `tracing_command` runs
    all tests below a tool that follows processes, if one can; `parse_tests` parses from a listing
    what tests depend on, where that tells it; `bad_test` parses from a line of output the state and
    the name of a test that ended badly, where tests are printed as they end: reports decide. `step`
    is the name of what it runs, and `ends_early` if nothing runs after a bad test."""

    tells_why: bool = False
    narrowing: str = ""
    environment: Mapping[str, str] = MappingProxyType({})
    tracing_command: Sequence[str] = ()
    parse_tests: Callable[[str], tuple[Test, ...]] | None = None
    bad_test: Callable[[str], tuple[State, str] | None] | None = None
    step: str = "test"
    ends_early: bool = False

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        """Return the commands that list the tests."""

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        """Parse the names of tests from the output of a listing; errors of any kind are those of
        malformed output."""

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        """Return the commands that run the selected tests."""

    def name_of(self, batch: Batch, case: Case, file: str) -> str:
        """Return the name in listings of a case in the report `file`."""
        return case.name

    def endings(self, lines: Iterable[str]) -> Mapping[str, str]:
        """Parse from the output how test programs ended abnormally, by the names of their cases."""
        return {}

    def status_of(self, case: Case, ending: str) -> int | None:
        """Parse the exit code of a bad case's program, where its report or its ending tells it."""
        return None

    def step_of(self, name: str) -> str:
        """Return the step whose log has the output of a test."""
        return self.step

    def key_of(self, name: str) -> str:
        """Return what a test's names in lists and in reports have in common."""
        return name

    def missing(self, expected: Sequence[str], reported: Collection[str]) -> Sequence[str]:
        """Return the `expected` tests that were not reported, as far as reports keep names."""
        keys = set(map(self.key_of, reported))
        return [
            name
            for name in expected
            if self.key_of(name) not in keys and name.isprintable() and len(name) <= LONGEST_NAME
        ]

    def narrows(self, options: Iterable[str]) -> bool:
        return bool(self.narrowing) and any(re.match(self.narrowing, option) for option in options)


def listed_names(framework: Framework, batch: Batch, text: str) -> tuple[str, ...]:
    """Return the tests of a listing; EnvmatrixError where it cannot be parsed."""
    message = f"the list of tests of `{batch.argv[0]}` cannot be read"
    with parse_errors(message, "run without `--shard`"):
        return tuple(dict.fromkeys(map(_check_name, framework.names(batch, bounded(text)))))


def _check_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a test is no text, but {type(name).__name__}")
    return name
