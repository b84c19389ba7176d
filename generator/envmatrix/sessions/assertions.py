"""The assertion that failed, found in what a test printed: for reports of frameworks such as CTest,
which know only that a program failed. Pure."""

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


def assertion(text: str) -> str | None:
    """The first assertion that failed by what was printed, in one line; None where there is none
    of a form that is known."""
    lines = [plain(line).rstrip() for line in text.splitlines()]
    for index, line in enumerate(lines):
        for pattern, told in _FORMS:
            if match := pattern.match(line.strip() if pattern is not _PYTEST else line):
                return shortened(told(match, lines[index + 1 : index + 1 + _MOST_LINES]))
    # Of exceptions that follow from each other, Python shows the one that counts last.
    return next((shortened(line) for line in reversed(lines) if _PYTHON.match(line)), None)


def shortened(text: str) -> str:
    """`text` in one line of a length that people read."""
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _paragraph(match: re.Match[str], following: Sequence[str]) -> str:
    """The lines up to an empty one, or to the next line of the framework itself."""
    said: list[str] = []
    for line in following:
        if not line.strip() or line.startswith(("[  ", "====", "----", "....", "~~~~")):
            break
        said.append(line)
    return f"{match['place']}: {' '.join(said)}"


def _doctest(match: re.Match[str], following: Sequence[str]) -> str:
    """With the values, which are on the next lines."""
    values = (line for line in following[:3] if line.strip().startswith(("values:", "logged:")))
    return f"{match['place']}: {' '.join([match['text'], *values])}"


def _placed(match: re.Match[str], _following: Sequence[str]) -> str:
    return f"{match['place']}: {match['text']}"


def _alone(match: re.Match[str], _following: Sequence[str]) -> str:
    return match["text"]


_Told = Callable[[re.Match[str], Sequence[str]], str]

_FORMS: Sequence[tuple[re.Pattern[str], _Told]] = (
    (_GOOGLETEST, _paragraph),
    (_CATCH2, _paragraph),
    (_DOCTEST, _doctest),
    (_BOOST, _placed),
    (_ASSERT, _placed),
    (_PYTEST, _alone),
)
