"""JUnit's XML, as test frameworks write it and as a session leaves it behind."""

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
# What one test printed, its name and its time are cut to these, in characters.
PRINTED, LONGEST_NAME, _LONGEST_NUMBER = 64 << 10, 2000, 50
# No test takes a year; what says so does not know.
_LONGEST_TIME = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Case:
    """A test case as a framework names it; `file` only where that says."""

    name: str
    classname: str
    file: str
    state: State
    seconds: float
    message: str = ""
    output: str = ""


def read(build: Directory, name: str) -> tuple[Case, ...]:
    """The cases of a file; EnvmatrixError where it is none, or is cut off."""
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
    return tuple(cases.found)


@dataclass(slots=True)
class _Element:
    """A test case, or what is directly in one; `text` is what comes before its first element."""

    tag: str
    attributes: Mapping[str, str]
    text: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        return self.attributes.get(name)

    def find(self, tag: str) -> _Element | None:
        return next((its for its in self.children if its.tag == tag), None)

    def findtext(self, tag: str) -> str:
        element = self.find(tag)
        return "".join(element.text) if element else ""


class _Cases:
    """Hears what an XML parser reads, and keeps no more than the cases of it."""

    def __init__(self) -> None:
        self.found: list[Case] = []
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
            self.found.append(_case(self._case))
            self._case = None
            if len(self.found) > _MOST_CASES:
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
    """A time as it is written; 0 for what cannot be one."""
    seconds = float(text[:_LONGEST_NUMBER].replace(",", ""))
    return seconds if 0 <= seconds < _LONGEST_TIME else 0.0


def _state(case: _Element) -> State:
    """By what it holds, and by the status that CTest and GoogleTest write beside that."""
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
    """GoogleTest says it of tests that are disabled; CTest of what is skipped, and also of what it
    counts as failed: no executable, a failed fixture."""
    if result == "suppressed":
        return "skipped"
    said = "" if skipped is None else skipped.get("message") or ""
    return "skipped" if said.startswith("SKIP_") else "failed"


def _message(case: _Element, output: str) -> str:
    """What the framework says went wrong; CTest does not know, so what was printed last."""
    words = [said for element in case.children if (said := _said(element))]
    printed = output.strip().splitlines()
    is_ctest = case.get("status") is not None and case.get("result") is None
    first, second = (printed[-1:], words) if is_ctest else (words, printed[-1:])
    return (first or second or [""])[0]


def _said(element: _Element) -> str:
    """The message of a verdict; Catch2 has none for what is skipped, and tells below a heading."""
    if element.tag not in ("failure", "error", "skipped"):
        return ""
    lines = map(str.strip, "".join(element.text).splitlines())
    told = next((line for line in lines if line not in ("", "SKIPPED")), "")
    return element.get("message") or told


def cut(text: str, length: int) -> str:
    """`text`, without its middle where it is longer than `length`."""
    if len(text) <= length:
        return text
    half = length // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"


def write(file: Path, suite: str, outcomes: Sequence[TestOutcome]) -> None:
    """One suite; a test that passed only when tried again says so, as Surefire has it."""
    count = {state: sum(its.state == state for its in outcomes) for state in _COUNTED}
    root = ElementTree.Element("testsuites")
    attributes = {
        "name": suite,
        "tests": str(len(outcomes)),
        "failures": str(count["failed"]),
        "errors": str(count["errored"]),
        "skipped": str(count["skipped"]),
        "time": f"{sum(its.seconds for its in outcomes):.3f}",
    }
    element = ElementTree.SubElement(root, "testsuite", attributes)
    for its in outcomes:
        named = {"name": printable(its.name), "classname": suite, "time": f"{its.seconds:.3f}"}
        case = ElementTree.SubElement(element, "testcase", named)
        if tag := _TAGS.get(its.state):
            ElementTree.SubElement(case, tag, message=printable(its.message))
        if its.output:
            ElementTree.SubElement(case, "system-out").text = printable(its.output)
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


# What XML 1.0 cannot hold.
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """`text` without what XML 1.0 cannot hold."""
    return _UNFIT.sub("\ufffd", text)
