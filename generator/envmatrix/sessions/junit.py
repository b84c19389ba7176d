"""JUnit XML, as test frameworks write it and as sessions write their results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envmatrix.confined import Directory
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.outcomes import State, TestOutcome

# Beyond these a file is no report: cases, and elements in each other.
_MOST_CASES, _DEEPEST = 200_000, 100
# Longest output, name and time of a test, in characters; longer ones are cut.
PRINTED, LONGEST_NAME, _LONGEST_NUMBER = 64 << 10, 2000, 50
# No test takes a year; what says so does not know.
_LONGEST_TIME = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Case:
    """Test case as a framework names it; `file` only where the report has one."""

    name: str
    classname: str
    file: str
    state: State
    seconds: float
    message: str = ""
    output: str = ""


def read(build: Directory, name: str) -> tuple[Case, ...]:
    """Parse a JUnit file; EnvmatrixError where it is invalid or truncated."""
    return parse(build.read(name), name)


def parse(text: bytes, name: str) -> tuple[Case, ...]:
    cases = _Cases()
    parser = ElementTree.XMLParser(target=cases)  # noqa: S314 -- no document types, see there
    try:
        parser.feed(text)
        parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise EnvmatrixError(
            f"`{name}` is no JUnit file: {error}",
            hint="a test that ends its process early leaves such a file",
        ) from error
    return tuple(cases.cases)


@dataclass(slots=True)
class _Element:
    """Element of a test case, or the case itself; `text` is the text before its first child."""

    tag: str
    attributes: Mapping[str, str]
    text: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        return self.attributes.get(name)

    def find(self, tag: str) -> _Element | None:
        return next((child for child in self.children if child.tag == tag), None)

    def findtext(self, tag: str) -> str:
        element = self.find(tag)
        return "".join(element.text) if element else ""


class _Cases:
    """Target of an XML parser that keeps only test cases."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self._depth = 0
        self._case: _Element | None = None
        self._case_depth = 0
        self._open: _Element | None = None

    def doctype(self, *_: object) -> None:
        raise ValueError("it has a document type, which no report has")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"it has more than {_DEEPEST} elements in each other")
        self._open = None
        if self._case is None:
            if tag == "testcase":
                self._case, self._case_depth = _Element(tag, attributes), self._depth
        elif self._depth == self._case_depth + 1:
            self._open = _Element(tag, attributes)
            self._case.children.append(self._open)

    def data(self, text: str) -> None:
        if self._open is not None:
            self._open.text.append(text)

    def end(self, _tag: str) -> None:
        if self._case is not None and self._depth == self._case_depth:
            self.cases.append(_case(self._case))
            self._case = None
            if len(self.cases) > _MOST_CASES:
                raise ValueError(f"it has more than {_MOST_CASES} cases")
        self._depth -= 1
        self._open = None


def _case(case: _Element) -> Case:
    state = _state(case)
    output = "\n".join(filter(None, (case.findtext(tag) for tag in ("system-out", "system-err"))))
    name, classname, file = (
        cut(case.get(key) or "", LONGEST_NAME) for key in ("name", "classname", "file")
    )
    message = "" if state == "passed" else cut(_message(case, output), PRINTED)
    time = _seconds(case.get("time") or "0")
    return Case(name, classname, file, state, time, message, cut(output, PRINTED))


def _seconds(text: str) -> float:
    """Parse a time in seconds; 0 where it is out of range."""
    seconds = float(text[:_LONGEST_NUMBER].replace(",", ""))
    return seconds if 0 <= seconds < _LONGEST_TIME else 0.0


def _state(case: _Element) -> State:
    """Return the state by the child elements, and by the status that CTest and GoogleTest write."""
    status, result = case.get("status"), case.get("result")
    if case.find("failure") is not None or status == "fail":
        return "failed"
    if case.find("error") is not None:
        return "errored"
    skipped = case.find("skipped")
    if status == "disabled" or result == "skipped":
        return "skipped"
    if status == "notrun":
        return _not_run(result, skipped)
    return "passed" if skipped is None else "skipped"


def _not_run(result: str | None, skipped: _Element | None) -> State:
    """Return the state of a `notrun` case. GoogleTest writes it for disabled tests; CTest for
    skipped ones, and for those that it counts as failed: no executable, a failed fixture."""
    if result == "suppressed":
        return "skipped"
    message = "" if skipped is None else skipped.get("message") or ""
    return "skipped" if message.startswith("SKIP_") else "failed"


def _message(case: _Element, output: str) -> str:
    """Return the framework's message; for CTest, which has none, the last line of output."""
    words = [message for element in case.children if (message := _verdict_message(element))]
    printed = output.strip().splitlines()
    is_ctest = case.get("status") is not None and case.get("result") is None
    first, second = (printed[-1:], words) if is_ctest else (words, printed[-1:])
    return (first or second or [""])[0]


def _verdict_message(element: _Element) -> str:
    """Return the message of a verdict; that of Catch2 for a skipped test is in its text, below a
    heading."""
    if element.tag not in ("failure", "error", "skipped"):
        return ""
    lines = map(str.strip, "".join(element.text).splitlines())
    first_line = next((line for line in lines if line not in ("", "SKIPPED")), "")
    return element.get("message") or first_line


def cut(text: str, length: int) -> str:
    """Return `text`, without its middle where it is longer than `length`."""
    if len(text) <= length:
        return text
    half = length // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"


def write(file: Path, suite: str, outcomes: Sequence[TestOutcome]) -> None:
    """Write one suite; a test that passed only on a retry is flaky, as in Surefire's format."""
    count = {state: sum(outcome.state == state for outcome in outcomes) for state in _COUNTED}
    root = ElementTree.Element("testsuites")
    attributes = {
        "name": suite,
        "tests": str(len(outcomes)),
        "failures": str(count["failed"]),
        "errors": str(count["errored"]),
        "skipped": str(count["skipped"]),
        "time": f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    }
    element = ElementTree.SubElement(root, "testsuite", attributes)
    for outcome in outcomes:
        case_attributes = {
            "name": xml_safe(outcome.name),
            "classname": suite,
            "time": f"{outcome.seconds:.3f}",
        }
        case = ElementTree.SubElement(element, "testcase", case_attributes)
        if tag := _TAGS.get(outcome.state):
            ElementTree.SubElement(case, tag, message=xml_safe(outcome.message))
        if outcome.output:
            ElementTree.SubElement(case, "system-out").text = xml_safe(outcome.output)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, "unicode")
    file.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', encoding="utf-8")


_COUNTED = ("failed", "errored", "skipped")
_TAGS = {
    "failed": "failure",
    "errored": "error",
    "killed": "error",
    "skipped": "skipped",
    "flaky": "flakyFailure",
}


# Characters that XML 1.0 does not allow.
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_safe(text: str) -> str:
    """Replace characters that XML 1.0 does not allow."""
    return _UNFIT.sub("\ufffd", text)
