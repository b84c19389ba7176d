"""Tests that end badly, as soon as their framework prints it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from envmatrix.matrix.library import LibraryTest
from envmatrix.records import dataclass
from envmatrix.sessions.frameworks import FRAMEWORKS
from envmatrix.sessions.frameworks.base import Framework
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
    count: int = 0

    @classmethod
    def of(cls, tests: LibraryTest | None, *, has_gpu: bool) -> Announcer:
        if tests is None:
            return cls(None, ())
        return cls(FRAMEWORKS[tests.framework], () if has_gpu else tests.gpu)

    def may_have_news(self, printed: bytes) -> bool:
        is_open = self.framework is not None and self.count < _MOST
        return is_open and any(mark in printed for mark in _MARKS)

    def news(self, line: str) -> Iterator[str]:
        """Yield the state and the name of a test that this line says ended badly."""
        is_open = self.framework is not None and self.count < _MOST and len(line) < _LONGEST_LINE
        bad = self.framework.bad_test(line) if self.framework and is_open else None
        if bad is None or any(fnmatchcase(bad[1], glob) for glob in self.excused):
            return
        state, name = bad
        self.count += 1
        yield f"{state:8} {one_line(name)}"
