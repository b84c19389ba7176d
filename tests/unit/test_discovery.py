"""The page that the session `finders` writes is whole, and gives a reason for what is not found."""

from __future__ import annotations

import re

import pytest
from tests.finders.table import COLUMNS, PAGE, PROBES, Column, checks, read, replaced

TEXT = PAGE.read_text(encoding="utf-8")
NONE = {"Debian": "", "wheels": ""}


def test_every_check_has_a_title_of_its_own() -> None:
    assert checks()
    assert len({*checks().values()}) == len(checks())
    for name, title in checks().items():
        assert title, name
        assert "|" not in title, name


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_the_page_has_every_check_in_every_column(column: Column) -> None:
    results = read(TEXT)[column]
    assert set(results) == set(checks())
    assert set(results.values()) <= {"yes", "no", "—", ""}
    assert "" not in results.values() or not any(results.values()), "a column is run as a whole"


def test_what_is_not_found_has_a_reason() -> None:
    reasons = re.findall(r"(?m)^- \*\*(.+?)\*\*, (.+?): \S", TEXT)
    unexplained = [
        (column, title)
        for column, results in read(TEXT).items()
        for name, title in checks().items()
        if results[name] == "no"
        and not any(title == row and str(column).startswith(start) for row, start in reasons)
    ]
    assert not unexplained


def test_a_table_that_was_written_is_read_again() -> None:
    findings = {column: dict.fromkeys(checks(), 0) for column in COLUMNS}
    findings[COLUMNS[0]]["nccl"] = 77
    findings[COLUMNS[1]]["link"] = 1
    empty = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in NONE)
    results = read(replaced(empty, findings))
    assert results[COLUMNS[0]]["nccl"] == "—"
    assert results[COLUMNS[1]]["link"] == "no"
    assert results[COLUMNS[-1]]["link"] == "yes"


def test_columns_that_were_not_run_stay_as_they_were() -> None:
    column = COLUMNS[0]
    text = replaced(TEXT, {column: dict.fromkeys(checks(), 1)})
    assert set(read(text)[column].values()) == {"no"}
    assert all(read(text)[other] == read(TEXT)[other] for other in COLUMNS[1:])


def test_a_page_without_results_has_every_row() -> None:
    empty = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in NONE)
    results = read(replaced(empty, {}))
    assert set(results) == set(COLUMNS)
    assert all(set(cells.values()) == {""} for cells in results.values())


def test_what_a_check_runs_is_there() -> None:
    for file in PROBES.glob("checks/*.sh"):
        for name in re.findall(r"configure (\w+)", file.read_text(encoding="utf-8")):
            assert (PROBES / name / "CMakeLists.txt").is_file(), file.name
