"""What a test framework is, and the programs that run its tests, each with as many names as it can
take. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.junit import LONGEST_NAME, Case
from envmatrix.sessions.outcomes import bounded
from envmatrix.sessions.steps import BUILD, Workplace

# Where frameworks write their reports, in the build directory.
REPORTS = "reports"
# What the names of one batch take on its command line, in bytes. Linux has 128 KB for an argument;
# CMake has 64 KB for what it compiles an expression to, which is up to four times as long as that.
ARGUMENT, EXPRESSION = 64 << 10, 16 << 10
# What an argument, or an alternative of an expression, takes beside its text.
_EACH = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """One program with tests. `report` is a glob in the build directory of the JUnit files that it
    writes; without one its exit code is the outcome of the only test, `program`. `label` is what
    the names of its tests begin with; `tests` are those that it is to run, none where that is
    all."""

    argv: Sequence[str]
    report: str | None
    program: str = ""
    directory: str = BUILD
    needs_compiler: bool = False
    label: str = ""
    tests: Sequence[str] = ()


def parts(
    names: Iterable[str], most: int = ARGUMENT, spelled: Callable[[str], str] = str
) -> Iterator[tuple[str, ...]]:
    """`names` in parts of at most `most` bytes as they are `spelled`; a longer name has its own."""
    part: list[str] = []
    size = 0
    for name in names:
        own = len(spelled(name).encode()) + _EACH
        if part and size + own > most:
            yield tuple(part)
            part, size = [], 0
        part.append(name)
        size += own
    if part:
        yield tuple(part)


def labels(programs: Sequence[str]) -> Mapping[str, str]:
    """What the tests of each program are told by: its base name, or where others have that as well
    its path in the build directory."""
    of = {program: PurePosixPath(program).name for program in programs}
    count = Counter(of.values())
    return {
        program: base if count[base] == 1 else program.removeprefix(f"{BUILD}/")
        for program, base in of.items()
    }


def of_programs(
    programs: Sequence[str], wanted: Sequence[str] | None
) -> Iterator[tuple[Batch, Sequence[str] | None]]:
    """Each program with a part of its tests that are wanted, without those that have none; None for
    all, as where the program itself is wanted."""
    for program, label in labels(programs).items():
        batch = Batch([program], report_of(label), program, label=label)
        if wanted is None or program in wanted:
            yield batch, None
            continue
        prefix = f"{label}:"
        some = (name.removeprefix(prefix) for name in wanted if name.startswith(prefix))
        for part in parts(some):
            yield replace(batch, tests=[f"{prefix}{name}" for name in part]), part


def report_of(label: str) -> str:
    return f"{REPORTS}/{label.replace('/', '_')}.xml"


def missing(wanted: Sequence[str], told: Collection[str]) -> Sequence[str]:
    """Those of `wanted` that were not told, as far as a report has their names as they are."""
    return [
        name
        for name in wanted
        if name not in told and name.isprintable() and len(name) <= LONGEST_NAME
    ]


def missing_by(
    alike: Callable[[str], str], wanted: Sequence[str], told: Collection[str]
) -> Sequence[str]:
    """The same, for names that differ in lists and reports, but not in what `alike` makes of
    them."""
    known = set(map(alike, told))
    return [name for name in missing(wanted, told) if alike(name) not in known]


@dataclass(frozen=True, slots=True)
class Framework:
    """`listing` prints what `names` reads; `running` takes the names that are wanted, None for all;
    `name` is what a case goes by in both. Programs are those that the library's `run` means.
    `endings` reads how programs of tests ended that did not end by themselves, from what is
    printed; `tells_why` says that messages in reports are about what is wrong. `missing` finds the
    names that are wanted and not among those that were told; `narrowing` matches the options with
    which the framework itself leaves out tests, or ends early."""

    listing: Callable[[Workplace, Sequence[str]], Sequence[Batch]]
    names: Callable[[Batch, str], Iterable[str]]
    running: Callable[
        [Workplace, Sequence[str], Sequence[str] | None, Sequence[str]], Sequence[Batch]
    ]
    name: Callable[[Batch, Case, str], str]
    endings: Callable[[Iterable[str]], Mapping[str, str]] = lambda _lines: {}
    tells_why: bool = False
    missing: Callable[[Sequence[str], Collection[str]], Sequence[str]] = missing
    narrowing: str = ""

    def narrows(self, options: Iterable[str]) -> bool:
        return bool(self.narrowing) and any(re.match(self.narrowing, its) for its in options)


def names(framework: Framework, batch: Batch, text: str) -> tuple[str, ...]:
    """The tests that a listing tells; EnvmatrixError where it tells none that can be read."""
    try:
        return tuple(dict.fromkeys(map(_checked, framework.names(batch, bounded(text)))))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise EnvmatrixError(
            f"the list of tests of `{batch.argv[0]}` cannot be read: {error}",
            hint="run without `--shard`",
        ) from error


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a test is no text, but {type(name).__name__}")
    return name
