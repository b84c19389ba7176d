"""JUnit's XML, as test frameworks write it and as a session leaves it behind."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.outcomes import State, TestOutcome

# Beyond this a file is no report. What one test printed is cut to the second number.
_LARGEST = 256 << 20
_PRINTED = 64 << 10


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


def read(file: Path) -> tuple[Case, ...]:
    """The cases of a file; EnvmatrixError where it is none, or is cut off."""
    try:
        if file.stat().st_size > _LARGEST:
            raise EnvmatrixError(f"`{file}` has {file.stat().st_size >> 20} MB, that is no report")
        tree = ElementTree.parse(file)  # noqa: S314 -- expat limits what entities expand to
        return tuple(_cases(tree.getroot()))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise EnvmatrixError(
            f"`{file}` is no JUnit file: {error}",
            hint="a test that ends its process early leaves such a file",
        ) from error


def _cases(root: ElementTree.Element) -> Iterator[Case]:
    for case in root.iter("testcase"):
        state = _state(case)
        output = "\n".join(
            filter(None, (case.findtext(tag) for tag in ("system-out", "system-err")))
        )
        yield Case(
            case.get("name", ""),
            case.get("classname", ""),
            case.get("file", ""),
            state,
            float((case.get("time") or "0").replace(",", "")),
            "" if state == "passed" else _message(case, output),
            cut(output, _PRINTED),
        )


def _state(case: ElementTree.Element) -> State:
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


def _not_run(result: str | None, skipped: ElementTree.Element | None) -> State:
    """GoogleTest says it of tests that are disabled; CTest of what is skipped, and also of what it
    counts as failed: no executable, a failed fixture."""
    if result == "suppressed":
        return "skipped"
    said = "" if skipped is None else skipped.get("message", "")
    return "skipped" if said.startswith("SKIP_") else "failed"


def _message(case: ElementTree.Element, output: str) -> str:
    """What the framework says went wrong; CTest does not know, so what was printed last."""
    words = [said for element in case if (said := _said(element))]
    printed = output.strip().splitlines()
    is_ctest = case.get("status") is not None and case.get("result") is None
    first, second = (printed[-1:], words) if is_ctest else (words, printed[-1:])
    return (first or second or [""])[0]


def _said(element: ElementTree.Element) -> str:
    """The message of a verdict; Catch2 has none for what is skipped, and tells below a heading."""
    if element.tag not in ("failure", "error", "skipped"):
        return ""
    lines = map(str.strip, (element.text or "").splitlines())
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


def printable(text: str) -> str:
    """`text` without what XML 1.0 cannot hold."""
    return "".join(char if _fits(ord(char)) else "�" for char in text)


def _fits(point: int) -> bool:
    return (
        point in (0x9, 0xA, 0xD)
        or 0x20 <= point <= 0xD7FF
        or 0xE000 <= point <= 0xFFFD
        or point >= 0x10000
    )
