"""Every generated file of small repositories, byte for byte: `pytest --update-golden` writes
them anew. The matrix.lock.json of a case is what locking finds in the world of the fakes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.fakes import lock_of

from envmatrix.app.consumers import CONSUMERS, ConsumerRequest, files
from envmatrix.app.workspace import Workspace
from envmatrix.commands.generate import outputs
from envmatrix.lock.model import FILE, dumps
from envmatrix.matrix.contents import json_schemas
from envmatrix.matrix.loading import load_matrix

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(file.parent.name for file in GOLDEN.glob("*/matrix.yaml"))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Path:
    return GOLDEN / str(request.param)


def test_there_are_cases() -> None:
    assert CASES


def test_the_lock(case: Path, tmp_path: Path, *, update_golden: bool) -> None:
    text = dumps(lock_of(load_matrix(case), tmp_path))
    if update_golden:
        (case / FILE).write_text(text, encoding="utf-8")
    assert (case / FILE).read_text(encoding="utf-8") == text


def test_the_generated_files(case: Path, *, update_golden: bool) -> None:
    # The schema is the same for every repository; this one has it at its root.
    workspace = Workspace(case)
    found = {path: text for path, text in outputs(workspace).items() if path not in json_schemas()}
    if [*workspace.published]:
        for consumer in CONSUMERS:
            found |= files(workspace, ConsumerRequest(consumer))
    expected = case / "expected"
    if update_golden:
        shutil.rmtree(expected, ignore_errors=True)
        for path, text in found.items():
            (expected / path).parent.mkdir(parents=True, exist_ok=True)
            (expected / path).write_text(text, encoding="utf-8")
    there = {file for file in expected.rglob("*") if file.is_file()}
    assert {str(file.relative_to(expected)) for file in there} == set(found)
    for path, text in found.items():
        assert (expected / path).read_text(encoding="utf-8") == text, path


def test_a_case_says_what_its_matrix_says(case: Path) -> None:
    matrix = load_matrix(case)
    assert matrix.cells
    if case.name == "debian_toolkit_without_arm64":
        assert [cell.id for cell in matrix.cells] == ["cuda12.4-debian13-x86_64"]
        assert [exclusion.cell.id for exclusion in matrix.exclusions] == [
            "cuda12.4-debian13-aarch64"
        ]
