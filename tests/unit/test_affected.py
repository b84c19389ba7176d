"""`envmatrix affected`, with a git repository of its own and no container engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.fakes import Archive, write_repository
from tests.repositories import commit, committed, git
from tests.unit.prompt import Prompt
from tests.unit.test_plan_diff import CELL, NEWER, lock

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")

AXES = 'cuda: ["13.0", "13.5"]\nos: [debian12]\narch: [x86_64]'
LIBRARIES = """\
libraries:
  own: {path: own, test: {framework: ctest, ignore: ["*.md"]}}
  other: {source: {git: https://git.example/other, revision: v1}, cells: ["cuda13.0*"]}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    root = write_repository(tmp_path / "its", AXES, LIBRARIES)
    (root / "own").mkdir()
    (root / "own/a.cpp").write_text("one\n")
    lock(root)
    committed(root)
    monkeypatch.chdir(root)
    return root


def affected(envmatrix: Prompt) -> list[tuple[str, str, str]]:
    answer = envmatrix("affected", "--since", "HEAD", "--json")
    assert answer.status == 0, answer.err
    return [(row["library"], row["cell"], row["reason"]) for row in json.loads(answer.out)]


def change(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.usefixtures("repository")
def test_where_nothing_changed_nothing_is_affected(envmatrix: Prompt) -> None:
    answer = envmatrix("affected", "--since", "HEAD", "--explain")
    assert answer.out.count("left out ") == 3
    assert answer.err == "affected: 0 of 3 libraries in cells\n"


def test_a_file_reaches_its_library_in_all_cells_and_no_other(
    envmatrix: Prompt, repository: Path
) -> None:
    (repository / "own/README.md").write_text("not of interest\n")
    assert affected(envmatrix) == []
    change(repository / "own/a.cpp", "one", "two")
    reason = "`a.cpp` changed"
    assert affected(envmatrix) == [("own", CELL, reason), ("own", NEWER, reason)]


def test_a_locked_source_that_moves_is_told_from_what_to_what(
    envmatrix: Prompt, repository: Path
) -> None:
    change(repository / "matrix.yaml", "revision: v1", "revision: v2")
    lock(repository)
    url = "https://git.example/other"
    assert affected(envmatrix) == [("other", CELL, f"its source {url} v1 -> {url} v2")]


def test_an_entry_or_packages_of_a_cell_that_change_affect_everything_there(
    envmatrix: Prompt, repository: Path
) -> None:
    change(repository / "matrix.yaml", 'ignore: ["*.md"]', "retries: 1")
    entry = "its entry in matrix.yaml changed"
    assert affected(envmatrix) == [("own", CELL, entry), ("own", NEWER, entry)]

    lock(repository, Archive(versions={"cmake": "2.0-1"}))
    assert {row[:2] for row in affected(envmatrix)} == {
        ("own", CELL),
        ("own", NEWER),
        ("other", CELL),
    }
    assert all("`cmake` 1.0-1 -> 2.0-1" in reason for _, _, reason in affected(envmatrix))


def test_a_change_reaches_what_needs_the_library(envmatrix: Prompt, repository: Path) -> None:
    entry = "  user: {path: user, needs: [own], cells: ['cuda13.0*']}\n"
    change(repository / "matrix.yaml", "libraries:\n", f"libraries:\n{entry}")
    (repository / "user").mkdir()
    (repository / "user/a.cpp").write_text("one\n")
    commit(repository)
    change(repository / "own/a.cpp", "one", "two")
    reason = "`a.cpp` changed"
    assert affected(envmatrix) == [
        ("own", CELL, reason),
        ("user", CELL, f"`own`, which it needs: {reason}"),
        ("own", NEWER, reason),
    ]
    commit(repository)
    change(repository / "user/a.cpp", "one", "two")
    assert affected(envmatrix) == [("user", CELL, reason)]


def test_where_the_past_cannot_be_read_it_is_everything(
    envmatrix: Prompt, repository: Path
) -> None:
    text = (repository / "matrix.yaml").read_text()
    (repository / "matrix.yaml").write_text("axes: [\n")
    commit(repository)
    (repository / "matrix.yaml").write_text(text)
    assert {reason for *_, reason in affected(envmatrix)} == {"the matrix at `HEAD` cannot be read"}


@pytest.mark.usefixtures("repository")
def test_a_revision_that_is_not_there_is_an_error(envmatrix: Prompt) -> None:
    answer = envmatrix("affected", "--since", "nowhere")
    assert answer.status == 2
    assert "revision `nowhere` cannot be read" in answer.err


def test_without_a_common_ancestor_it_is_everything(envmatrix: Prompt, repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--orphan", "other")
    (repository / "own/README.md").write_text("another root\n")
    commit(repository)
    answer = envmatrix("affected", "--since", "main", "--json")
    assert answer.status == 0, answer.err
    reasons = {row["reason"] for row in json.loads(answer.out)}
    assert reasons == {"no changes are known: there is no common ancestor with `main`"}
