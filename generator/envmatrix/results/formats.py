"""Formats of a report: text for terminals, Markdown, JUnit, and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from envmatrix.console import amount_of
from envmatrix.results.queries import Flake
from envmatrix.results.summary import Failure, Origin, Report, ReportEntry, revision_text
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.junit import xml_safe
from envmatrix.sessions.outcomes import COUNTED
from envmatrix.text import first_line, leading_lines, number_of, one_line

# More libraries in cells without a result are counted, not named.
_MOST_MISSING = 10

# As much of a message as a line of a report has.
_LONGEST_MESSAGE = 200
_SIGNS = {"passed": "ok", "failed": "FAILED", "errored": "ERROR", "killed": "KILLED"}


def sign(entry: ReportEntry) -> str:
    """Return the state of an entry in one word."""
    state = entry.state
    return "waived" if entry.is_waived else _SIGNS.get(state, state)


def tests_of(entry: ReportEntry) -> str:
    """Return `12 passed, 1 failed`; "" if no test ran."""
    counts = entry.counts
    return ", ".join([f"{counts[state]} {state}" for state in COUNTED if counts.get(state)])


def origin_text(origin: Origin | None) -> str:
    """Return `since 1a2b3c (passed at 4d5e6f)`."""
    if origin is None:
        return ""
    bad = revision_text(origin.first_bad.revision) or f"run {origin.first_bad.run[:8]}"
    if origin.last_good is None:
        return f"since {bad}, the first that was run"
    good = revision_text(origin.last_good.revision) or f"run {origin.last_good.run[:8]}"
    if good == bad:
        return f"since a run of {bad}, which passed before"
    return f"since {bad} (passed at {good})"


def waiver_text(waiver: Waiver | None) -> str:
    if waiver is None:
        return ""
    return f"waived until {waiver.expires}: {waiver.bug}, {waiver.owner}"


def entry_row(entry: ReportEntry) -> tuple[str, ...]:
    return (
        one_line(entry.library),
        one_line(entry.cell),
        sign(entry),
        tests_of(entry),
        f"{entry.seconds:.1f} s",
        "" if entry.size is None else amount_of(entry.size, "bytes"),
        "" if entry.coverage is None else f"{entry.coverage:.1f} %",
    )


HEAD = ("library", "cell", "state", "tests", "time", "size", "coverage")


def text(report: Report) -> str:
    """Format a report for terminals, in columns; without those that have no value."""
    rows = [*map(entry_row, report.entries)]
    columns = [column for column in range(len(HEAD)) if any(row[column] for row in rows)]
    table = [[line[column] for column in columns] for line in (HEAD, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table if line]
    for title, items in _sections(report):
        lines += ["", f"{title}:", *(f"  {item}" for item in items)]
    return "\n".join([*lines, "", _total(report)]).lstrip("\n")


def markdown(report: Report) -> str:
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    lines += [f"| {' | '.join(map(_escape, entry_row(entry)))} |" for entry in report.entries]
    for title, items in _sections(report):
        lines += ["", f"### {title}", "", *(f"- {_escape(item)}" for item in items)]
    return "\n".join([*lines, "", _total(report)])


def _escape(text: str) -> str:
    for char in "\\`*_<>|[]":
        text = text.replace(char, f"\\{char}")
    return text


def _sections(report: Report) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the non-empty sections below the table: a title and its lines."""
    sections: Mapping[str, Iterable[str]] = {
        f"Broke since {report.since}": map(_line, report.broke),
        "Fails": map(_line, report.unwaived),
        "Waived": (_line(failure) for failure in report.failures if failure.waiver),
        "Flaky in the last 30 days": (
            f"{one_line(f'{item.library} {item.cell} {item.name}')}: {flakiness(item)}"
            for item in report.flaky
        ),
        "Slower": (
            f"{item.library} {item.cell} {item.verb}: {item.now:.1f} s, usually {item.before:.1f} s"
            for item in report.slower
        ),
        "Never ran": leading_lines(
            [one_line(f"{library} {cell}") for library, cell in report.missing], _MOST_MISSING
        ),
        "Waivers that have expired": (
            f"{item.position}: `{item.test}`, {item.expires}, {item.owner}"
            for item in report.expired
        ),
        "Waivers of what does not fail": (
            f"{item.position}: `{item.test}`, {item.owner}" for item in report.unused
        ),
    }
    for title, lines in sections.items():
        if items := tuple(lines):
            yield title, items


def _line(failure: Failure) -> str:
    place = one_line(f"{failure.library} {failure.cell} {failure.name}")
    message = first_line(failure.message)[:_LONGEST_MESSAGE]
    notes = [failure.cause or "", origin_text(failure.origin), waiver_text(failure.waiver)]
    details = "; ".join(note for note in notes if note)
    summary = f": {message}" if message else ""
    return f"{place}{summary}" + (f" ({details})" if details else "")


def flakiness(flake: Flake) -> str:
    """Describe how often a test passed only on retry, or both passed and failed."""
    reasons = []
    if flake.retried:
        revisions = number_of(flake.retried, "revision")
        reasons.append(f"passed only when tried again at {revisions}")
    if flake.contradicted:
        reasons.append(f"passed and failed at {number_of(flake.contradicted, 'revision')}")
    return ", ".join(reasons)


def _total(report: Report) -> str:
    places = f"{number_of(len(report.entries), 'result')} of libraries in cells"
    bad = f", {report.bad} {'fails' if report.bad == 1 else 'fail'}" if report.bad else ""
    missing = f", {len(report.missing)} never ran" if report.missing else ""
    runs = number_of(report.waiting, "run goes on or is", "runs go on or are")
    waiting = f"; {runs} not stored yet" if report.waiting else ""
    left_out = f"; {invalid_rows_text(report)}" if report.left_out else ""
    return f"{places}{bad}{missing}{waiting}{left_out}"


def invalid_rows_text(report: Report) -> str:
    """Describe the invalid rows of the store, which are left out."""
    rows = sorted(report.left_out.items())
    counts = (f"{number_of(count, 'row')} of {table}" for table, count in rows)
    return f"invalid and left out: {', '.join(counts)}"


def junit(report: Report) -> str:
    """Format one suite for each library and cell; waived failures are skipped, with the waiver."""
    root = Element("testsuites", name="envmatrix")
    for entry in report.entries:
        attributes = _suite(entry)
        name, time = attributes["name"], attributes["time"]
        suite = SubElement(root, "testsuite", attributes)
        for failure in entry.failures:
            case = SubElement(suite, "testcase", name=xml_safe(failure.name), classname=name)
            if failure.waiver:
                SubElement(case, "skipped", message=waiver_text(failure.waiver))
            else:
                kind = "failure" if failure.state == "failed" else "error"
                problem = SubElement(case, kind, message=xml_safe(failure.message[:500]))
                problem.text = xml_safe(f"{failure.message}\n{origin_text(failure.origin)}".strip())
        if not entry.failures:
            case = SubElement(suite, "testcase", name="all", classname=name, time=time)
            if entry.state == "skipped":
                SubElement(case, "skipped")
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, "unicode")}'


def _suite(entry: ReportEntry) -> dict[str, str]:
    bad = [failure for failure in entry.failures if failure.waiver is None]
    failed = sum(failure.state == "failed" for failure in bad)
    skipped = len(entry.failures) - len(bad) or int(entry.state == "skipped")
    return {
        "name": f"{entry.library}.{entry.cell}",
        "tests": str(max(1, len(entry.failures))),
        "failures": str(failed),
        "errors": str(len(bad) - failed),
        "skipped": str(skipped),
        "time": f"{entry.seconds:.3f}",
    }


def document(report: Report) -> dict[str, Any]:
    """Return the document for JSON, every field by its name."""
    return {
        "entries": [_entry(entry) for entry in report.entries],
        "failures": [_failure(failure) for failure in report.failures],
        "broke": [_failure(failure) for failure in report.broke],
        "since": report.since,
        "flaky": [asdict(flake) for flake in report.flaky],
        "slower": [asdict(item) for item in report.slower],
        "waivers": {
            "expired": [_waiver(item) for item in report.expired],
            "unused": [_waiver(item) for item in report.unused],
        },
        "waiting": report.waiting,
        "left_out": dict(report.left_out),
        "unreadable": [{"library": library, "cell": cell} for library, cell in report.unreadable],
        "missing": [{"library": library, "cell": cell} for library, cell in report.missing],
    }


def _entry(entry: ReportEntry) -> dict[str, Any]:
    return {
        "library": entry.library,
        "cell": entry.cell,
        "state": entry.state,
        "waived": entry.is_waived,
        "seconds": entry.seconds,
        "size": entry.size,
        "coverage": entry.coverage,
        "runs": [
            {**asdict(stored.run), **asdict(stored.end), "tests": dict(stored.counts)}
            for stored in entry.runs
        ],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {**asdict(failure), "waiver": failure.waiver and _waiver(failure.waiver)}


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return {**asdict(waiver), "expires": str(waiver.expires), "position": str(waiver.position)}
