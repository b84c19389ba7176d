"""Finds the failed assertion in the output of a test, for frameworks such as CTest that report only
that a program failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from envmatrix.sessions.logs import plain

_LONGEST = 300
# How many lines behind the first may belong to an assertion.
_MOST_LINES = 12

# `a.cpp:12` or, as Visual Studio and Boost.Test have it, `a.cpp(12)`.
_PLACE = r"(?P<place>[^\s:()][^:()]*(?::\d+(?::\d+)?|\(\d+\)))"

_GOOGLETEST = re.compile(rf"^{_PLACE}: Failure$")
_CATCH2 = re.compile(rf"^{_PLACE}: FAILED:?$")
_DOCTEST = re.compile(rf"^{_PLACE}:? (?:FATAL )?ERROR: (?P<text>.*)$")
_BOOST = re.compile(rf'^{_PLACE}: (?:fatal )?error: in "[^"]*": (?P<text>.*)$')
_ASSERT = re.compile(rf"^(?:[^\s:]+: )?{_PLACE}: (?:.*[: ])?(?P<text>[Aa]ssertion .*failed.?)$")
_PYTEST = re.compile(r"^E {3,}(?P<text>\S.*)$")
_PYTHON = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Failure)(?:: .*)?$")


def failed_assertion(text: str) -> str | None:
    """Return the first failed assertion of the output in one line; None without one of a supported
    form."""
    lines = [plain(line).rstrip() for line in text.splitlines()]
    for index, line in enumerate(lines):
        for pattern, describe in _FORMS:
            if match := pattern.match(line.strip() if pattern is not _PYTEST else line):
                return shorten(describe(match, lines[index + 1 : index + 1 + _MOST_LINES]))
    # Of exceptions that follow from each other, Python shows the one that counts last.
    return next((shorten(line) for line in reversed(lines) if _PYTHON.match(line)), None)


def shorten(text: str) -> str:
    """Return `text` in one line of limited length."""
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _paragraph(match: re.Match[str], following: Sequence[str]) -> str:
    """Return the lines up to an empty one, or to the next line of the framework itself."""
    words: list[str] = []
    for line in following:
        if not line.strip() or line.startswith(("[  ", "====", "----", "....", "~~~~")):
            break
        words.append(line)
    return f"{match['place']}: {' '.join(words)}"


def _doctest(match: re.Match[str], following: Sequence[str]) -> str:
    """Return the assertion with its values, which are on the next lines."""
    values = (line for line in following[:3] if line.strip().startswith(("values:", "logged:")))
    return f"{match['place']}: {' '.join([match['text'], *values])}"


def _with_place(match: re.Match[str], _following: Sequence[str]) -> str:
    return f"{match['place']}: {match['text']}"


def _alone(match: re.Match[str], _following: Sequence[str]) -> str:
    return match["text"]


_Describe = Callable[[re.Match[str], Sequence[str]], str]

_FORMS: Sequence[tuple[re.Pattern[str], _Describe]] = (
    (_GOOGLETEST, _paragraph),
    (_CATCH2, _paragraph),
    (_DOCTEST, _doctest),
    (_BOOST, _with_place),
    (_ASSERT, _with_place),
    (_PYTEST, _alone),
)
