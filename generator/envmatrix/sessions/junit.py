"""JUnit XML, as test frameworks write it and as sessions write their results."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from envmatrix.confined import Directory
from envmatrix.records import dataclass
from envmatrix.sessions.outcomes import State, TestOutcome, parse_errors
from envmatrix.text import one_line

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
    hint = "a test that ends its process early leaves such a file"
    with parse_errors(f"`{one_line(name)}` is no JUnit file", hint):
        parser.feed(text)
        parser.close()
    return tuple(cases.cases)


class _Cases(ElementTree.TreeBuilder):
    """Target of an XML parser that keeps only test cases; one in another is a part of that."""

    def __init__(self) -> None:
        super().__init__()
        self.cases: list[Case] = []
        self._open: list[ElementTree.Element] = []
        self._case: ElementTree.Element | None = None

    def doctype(self, *_: object) -> None:
        raise ValueError("it has a document type, which no report has")

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        element = super().start(tag, attrs)
        self._open.append(element)
        if len(self._open) > _DEEPEST:
            raise ValueError(f"it has more than {_DEEPEST} elements in each other")
        if self._case is None and tag == "testcase":
            self._case = element
        return element

    def end(self, tag: str) -> ElementTree.Element:
        element = super().end(tag)
        self._open.pop()
        if element is self._case:
            self._case = None
            self.cases.append(_case(element))
            if len(self.cases) > _MOST_CASES:
                raise ValueError(f"it has more than {_MOST_CASES} cases")
        if self._case is None and self._open:
            self._open[-1].clear()  # of what is over
        return element


def _case(case: ElementTree.Element) -> Case:
    state = _state(case)
    texts = (case.findtext(tag, "") for tag in ("system-out", "system-err"))
    output = "\n".join(filter(None, texts))
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


def _state(case: ElementTree.Element) -> State:
    """Return the state by the child elements, and by the status that CTest and GoogleTest write."""
    status, result = case.get("status"), case.get("result")
    if case.find("failure") is not None or status == "fail":
        return "failed"
    if case.find("error") is not None:
        return "errored"
    skipped = case.find("skipped")
    if status == "notrun" and result not in ("skipped", "suppressed"):
        # Of CTest: skipped tests, and those that it counts as failed, as without a program or a
        # fixture. GoogleTest has a result of disabled ones.
        message = "" if skipped is None else skipped.get("message") or ""
        return "skipped" if message.startswith("SKIP_") else "failed"
    is_skipped = skipped is not None or status in ("disabled", "notrun") or result == "skipped"
    return "skipped" if is_skipped else "passed"


def _message(case: ElementTree.Element, output: str) -> str:
    """Return the framework's message; for CTest, which has none, the last line of output."""
    words = [message for element in case if (message := _verdict_message(element))]
    printed = output.strip().splitlines()
    is_ctest = case.get("status") is not None and case.get("result") is None
    first, second = (printed[-1:], words) if is_ctest else (words, printed[-1:])
    return (first or second or [""])[0]


def _verdict_message(element: ElementTree.Element) -> str:
    """Return the message of a verdict; that of Catch2 for a skipped test is in its text, below a
    heading."""
    if element.tag not in ("failure", "error", "skipped"):
        return ""
    lines = map(str.strip, (element.text or "").splitlines())
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
    """Write one suite."""
    write_suites(file, [(suite, outcomes)])


def write_suites(file: Path, suites: Iterable[tuple[str, Sequence[TestOutcome]]]) -> None:
    """Write suites, one after the other: there may be thousands."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f"{file.name}.{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as handle:
        handle.write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n')
        for suite, outcomes in suites:
            element = _suite(suite, outcomes)
            ElementTree.indent(element, level=1)
            handle.write(f"  {ElementTree.tostring(element, 'unicode')}\n")
        handle.write("</testsuites>\n")
    scratch.replace(file)


def _suite(suite: str, outcomes: Sequence[TestOutcome]) -> ElementTree.Element:
    """Return the element of a suite; a test that passed only on a retry is flaky, as in Surefire's
    format."""
    count = Counter(outcome.state for outcome in outcomes)
    attributes = {
        "name": suite,
        "tests": str(len(outcomes)),
        "failures": str(count["failed"]),
        "errors": str(count["errored"] + count["killed"]),
        "skipped": str(count["skipped"]),
        "time": f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    }
    element = ElementTree.Element("testsuite", attributes)
    for outcome in outcomes:
        time = f"{outcome.seconds:.3f}"
        case = ElementTree.SubElement(
            element, "testcase", name=xml_safe(outcome.name), classname=suite, time=time
        )
        if tag := _TAGS.get(outcome.state):
            ElementTree.SubElement(case, tag, message=xml_safe(outcome.message))
        if outcome.output:
            ElementTree.SubElement(case, "system-out").text = xml_safe(outcome.output)
    return element


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
