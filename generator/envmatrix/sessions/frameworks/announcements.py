"""Tests that end badly, as soon as their framework prints it, or their program ends. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from itertools import islice

from envmatrix.matrix.library import LibraryTest
from envmatrix.records import dataclass
from envmatrix.sessions import verdicts
from envmatrix.sessions.frameworks import FRAMEWORKS
from envmatrix.sessions.frameworks.base import Framework
from envmatrix.sessions.outcomes import TestOutcome
from envmatrix.text import one_line

# More are not announced: the results at the end have all.
_MOST = 10
# Longer lines are of no framework.
_LONGEST_LINE = 1000
# One of these is in every line with a bad result: not every line of a flood is looked at.
_MARKS = (b"***", b"FAIL", b"ERROR", b"TIMEOUT")


@dataclass(slots=True)
class Announcer:
    """Announces tests of a framework; not those that `excused` globs match, which may fail without
    a GPU."""

    framework: Framework | None
    excused: Sequence[str]
    names: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, tests: LibraryTest | None, *, has_gpu: bool) -> Announcer:
        if tests is None:
            return cls(None, ())
        return cls(FRAMEWORKS[tests.framework], () if has_gpu else tests.gpu)

    def may_have_news(self, printed: bytes) -> bool:
        return self._is_open and any(mark in printed for mark in _MARKS)

    def news(self, line: str) -> Iterator[str]:
        """Yield the state and the name of a test that this line says ended badly; once where it has
        several ends, as of parts."""
        parse = self.framework.bad_test if self.framework else None
        bad = parse(line) if parse and self._is_open and len(line) < _LONGEST_LINE else None
        if bad is None or any(fnmatchcase(bad[1], glob) for glob in self.excused):
            return
        state, name = bad
        if name not in self.names:
            self.names.add(name)
            yield _news(state, name)

    @property
    def _is_open(self) -> bool:
        return self.framework is not None and len(self.names) < _MOST


def announcements(tests: Iterable[TestOutcome]) -> Iterator[str]:
    """Yield the states and the names of the first tests that ended badly."""
    bad = (test for test in tests if test.state in verdicts.BAD)
    return (_news(test.state, test.name) for test in islice(bad, _MOST))


def _news(state: str, name: str) -> str:
    return f"{state:8} {one_line(name)}"
