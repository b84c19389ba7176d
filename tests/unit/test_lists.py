"""`envmatrix import` and `envmatrix export` of lists of tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.adoption.imports.test_test_db import LIST as TEST_DB
from tests.unit.adoption.imports.test_test_db import MATRIX
from tests.unit.prompt import Prompt
from tests.unit.results.test_waives import LIST as WAIVES

from envmatrix.matrix.loading import load_matrix
from envmatrix.results.waivers import load_waivers

TERMS = ("--owner", "ana", "--expires", "2027-01-31")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    (tmp_path / "waives.txt").write_text(WAIVES)
    (tmp_path / "l0.yml").write_text(TEST_DB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_waivers_are_converted_and_written_back(repository: Path, envmatrix: Prompt) -> None:
    answer = envmatrix("import", "waives.txt", *TERMS, "--library", "llm")
    assert answer.status == 0
    assert answer.out.splitlines() == [
        f"waives.txt:{line}:1: `{text}`: has no bug: it is `none`"
        for line, text in enumerate(WAIVES.splitlines(), 1)
        if line in (3, 4)
    ]
    assert answer.err.splitlines() == ["wrote    waivers.yaml", "lists    6 of 6 lines converted"]
    assert {waiver.library for waiver in load_waivers(repository)} == {"llm"}

    answer = envmatrix("export", "waives")
    assert answer.out == WAIVES
    assert answer.err.splitlines()[-1] == "lists    6 tests of 6 waivers converted"
    assert envmatrix("export", "waives", "-o", "again.txt").status == 0
    assert (repository / "again.txt").read_text() == WAIVES


def test_a_waiver_needs_an_owner_and_a_last_day(repository: Path, envmatrix: Prompt) -> None:
    answer = envmatrix("import", "waives.txt")
    assert answer.status == 2
    assert "a waiver needs an owner" in answer.err
    assert "a waiver needs a day of expiry" in answer.err
    answer = envmatrix("import", "waives.txt", "--owner", "ana", "--expires", "2020-01-01")
    assert "`--expires 2020-01-01` has passed" in answer.err
    assert not (repository / "waivers.yaml").exists()


def test_waivers_of_people_are_replaced_only_by_force(repository: Path, envmatrix: Prompt) -> None:
    (repository / "waivers.yaml").write_text("mine\n")
    assert envmatrix("import", "waives.txt", *TERMS).status == 2
    assert (repository / "waivers.yaml").read_text() == "mine\n"
    assert envmatrix("import", "waives.txt", *TERMS, "--force").status == 0


def test_what_is_left_out_is_a_document_for_programs(repository: Path, envmatrix: Prompt) -> None:
    (repository / "waives.txt").write_text("a SKIP (B)\nb XFAIL (B)\n")
    document = json.loads(envmatrix("import", "waives.txt", *TERMS, "--json").out)
    assert document == {
        "format": "waives",
        "converted": "1 of 2 lines",
        "not_converted": [
            {
                "file": "waives.txt",
                "line": 2,
                "column": 1,
                "text": "b XFAIL (B)",
                "reason": "a waiver cannot say `XFAIL`",
                "is_left_out": True,
            }
        ],
    }


def test_a_list_without_a_waiver_is_an_error_with_all_reasons(
    repository: Path, envmatrix: Prompt
) -> None:
    (repository / "waives.txt").write_text("a XFAIL\nb TIMEOUT (90)\n")
    answer = envmatrix("import", "waives.txt", *TERMS)
    assert answer.status == 2
    assert "waives.txt:1:1: `a XFAIL`: a waiver cannot say `XFAIL`" in answer.err
    assert "waives.txt:2:1: `b TIMEOUT (90)`: a waiver cannot say `TIMEOUT`" in answer.err


def test_tests_are_libraries_of_an_overlay_and_lists_again(
    repository: Path, envmatrix: Prompt
) -> None:
    answer = envmatrix("import", "l0.yml")
    assert answer.status == 0
    assert 'l0.yml:21:5: `unittest/test_c.py -m "not part0": TIMEOUT (90)`' in answer.out
    assert answer.err.splitlines() == [
        "wrote    matrix.d/test-db.yaml",
        "lists    5 of 5 tests converted",
    ]
    names = {library.name for library in load_matrix(repository).libraries}
    assert names == {"l0_h100.pytorch", "l0_h100.pytorch.2", "l0_h100.pytorch.3"}
    exported = envmatrix("export", "test-db")
    assert exported.status == 0
    (repository / "again.yml").write_text(exported.out)
    assert envmatrix("import", "again.yml", "-o", "again.yaml").status == 0
    ours, theirs = (
        (repository / name).read_text() for name in ("matrix.d/test-db.yaml", "again.yaml")
    )
    assert ours.partition("libraries:")[2] == theirs.partition("libraries:")[2]
    chosen = envmatrix("export", "test-db", "--library", "l0_h100.pytorch.3")
    assert 'unittest/test_c.py -m "not part0"' in chosen.out
    assert "test_d.py" not in chosen.out


def test_lists_are_not_converted_as_a_matrix(repository: Path, envmatrix: Prompt) -> None:
    answer = envmatrix("import", "waives.txt", "l0.yml")
    assert answer.status == 2


@pytest.mark.parametrize("content", [b"\xff SKIP (x)\n", b"a SKIP\nb SKIP\n\xff\n"])
def test_what_is_no_text_is_an_error(repository: Path, envmatrix: Prompt, content: bytes) -> None:
    (repository / "waives.txt").write_bytes(content)
    answer = envmatrix("import", "waives.txt", *TERMS)
    assert answer.status == 2
    assert "is no text in UTF-8" in answer.err


def test_a_document_needs_a_file_to_write(repository: Path, envmatrix: Prompt) -> None:
    assert envmatrix("export", "waives", "--json").status == 2
    assert envmatrix("export", "waives").out == ""
