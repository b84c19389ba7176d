from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from datetime import date

import pytest
from tests.unit.results.examples import CELL, record

from envmatrix.errors import Position
from envmatrix.results import formats
from envmatrix.results.database import Database
from envmatrix.results.report import Scope, compose
from envmatrix.results.summary import Report
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.outcomes import Measurement

DAY = 86_400.0
OTHER = "cuda12.4-debian12-x86_64"
WAIVER = Waiver(
    test="gpu_*",
    owner="ana",
    bug="BUG-1",
    expires=date(2026, 6, 30),
    position=Position("waivers.yaml", 3, 5),
)
OLD = Waiver(
    test="x",
    owner="bo",
    bug="BUG-2",
    expires=date(2020, 1, 1),
    position=Position("waivers.yaml", 4, 5),
)


@pytest.fixture
def report(database: Database) -> Report:
    """Return a report of two libraries: one breaks in one cell, with a waived test; one is good."""
    for number, state in ((1, "passed"), (2, "failed"), (3, "failed")):
        tests = {"a": state, "gpu_b": "failed", "c": "flaky"}
        database.add(record(number, tests, cause="product", message="tests failed"))  # type: ignore[arg-type]
    covered = [Measurement("line coverage", 81.25, "%", "higher")]
    database.add(record(2, {"t": "passed"}, library="other", cell=OTHER, measurements=covered))
    scope = Scope(date(2026, 1, 1), 3.0, (WAIVER, OLD), since=1.5, since_name="v1")
    with database.reading() as connection:
        return compose(connection, scope, waiting=2)


def test_text_has_a_line_for_each_place_and_what_there_is_to_say(report: Report) -> None:
    lines = formats.text(report).splitlines()
    assert lines[0].split() == ["library", "cell", "state", "tests", "time", "coverage"]
    assert lines[1].split()[:3] == ["lib", CELL, "FAILED"]
    assert lines[2].split()[:3] == ["other", OTHER, "ok"]
    assert lines[2].endswith("81.2 %")
    text = "\n".join(lines)
    assert "Broke since v1:\n  lib" in text
    assert "a: a says failed (product; since r2 (passed at r1))" in text
    assert "Waived:" in text
    assert "waived until 2026-06-30: BUG-1, ana" in text
    assert "c: passed only when tried again at 3 revisions" in text
    assert "Waivers that have expired:\n  waivers.yaml:4:5: `x`, 2020-01-01, bo" in text
    assert text.endswith(
        "2 results of libraries in cells, 1 fails; 2 runs go on or are not stored yet"
    )


def test_markdown_is_a_table_whose_words_mean_nothing_more(report: Report) -> None:
    text = formats.markdown(report)
    assert text.startswith("| library | cell | state |")
    assert "| lib | cuda13.0-debian12-x86\\_64 | FAILED |" in text
    assert "### Fails" in text


def test_junit_has_failures_and_skips_what_is_waived(report: Report) -> None:
    root = ElementTree.fromstring(formats.junit(report))  # noqa: S314 -- written here
    first, second = root
    assert first.attrib | {"time": ""} == {
        "name": f"lib.{CELL}",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
        "time": "",
    }
    assert [case.get("name") for case in first.findall("testcase[failure]")] == ["a"]
    assert [case.get("name") for case in first.findall("testcase[skipped]")] == ["gpu_b"]
    assert second.get("failures") == "0"


def test_json_has_everything_by_name(report: Report) -> None:
    document = json.loads(json.dumps(formats.document(report)))
    failure = next(entry for entry in document["failures"] if entry["name"] == "a")
    assert failure["origin"]["first_bad"]["revision"]["id"] == "r2"
    assert failure["origin"]["last_good"]["revision"]["id"] == "r1"
    assert [entry["name"] for entry in document["broke"]] == ["a"]
    assert document["waivers"]["expired"][0]["position"] == "waivers.yaml:4:5"
    assert document["waiting"] == 2


def test_nothing_is_a_report_too(database: Database) -> None:
    with database.reading() as connection:
        report = compose(connection, Scope(date(2026, 1, 1), 3.0))
    assert formats.text(report).endswith("0 results of libraries in cells")
    assert formats.document(report)["entries"] == []


def test_a_report_is_of_what_it_is_asked_for(database: Database) -> None:
    database.add(record(1))
    database.add(record(1, library="other", cell=OTHER))
    with database.reading() as connection:
        only = compose(connection, Scope(date(2026, 1, 1), 3.0, libraries={"other"}))
        cells = compose(connection, Scope(date(2026, 1, 1), 3.0, cells={CELL}))
    assert [entry.library for entry in only.entries] == ["other"]
    assert [entry.library for entry in cells.entries] == ["lib"]
