"""`envmatrix init` in the directory of a library."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tests.unit.prompt import Prompt

from envmatrix.matrix.loading import load_matrix

LIBRARY = "project(x)\nenable_testing()\nfind_package(GTest)\n"


class _Terminal(io.StringIO):
    """Answers that someone types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "my-lib"
    root.mkdir()
    (root / "CMakeLists.txt").write_text(LIBRARY)
    monkeypatch.chdir(root)
    return root


def test_a_library_gets_a_matrix_with_its_sessions(library: Path, envmatrix: Prompt) -> None:
    answer = envmatrix("init", "--yes", "--cuda", "12.4,13.0", "--os", "debian12", "--sm", "90")
    assert (answer.status, answer.out) == (0, "")
    assert answer.err.splitlines() == [
        "build    CMake",
        "tests    CTest",
        "wrote    matrix.yaml",
        "wrote    envs/devel.yaml",
        "wrote    noxfile.py",
        "wrote    .gitignore",
        "next     envmatrix lock",
    ]
    matrix = load_matrix(library)
    assert {cell.cuda for cell in matrix.cells} == {"12.4", "13.0"}
    assert [entry.name for entry in matrix.libraries] == ["my-lib"]
    assert "libgtest-dev:{target}" in matrix.flavours["devel"].packages
    assert "cmake" in matrix.flavours["runtime"].packages


def test_a_matrix_is_never_replaced(library: Path, envmatrix: Prompt) -> None:
    (library / "matrix.yaml").symlink_to("elsewhere")
    answer = envmatrix("init", "--yes")
    assert answer.status == 2
    assert answer.err.startswith("error: there is a `matrix.yaml` here\nhint: ")
    assert {path.name for path in library.iterdir()} == {"CMakeLists.txt", "matrix.yaml"}


def test_other_files_are_kept(library: Path, envmatrix: Prompt) -> None:
    (library / "noxfile.py").write_text("# mine\n")
    (library / ".gitignore").write_text("*.o\n")
    (library / "envs").mkdir()
    (library / "envs/devel.yaml").write_text("flavour: devel\nextends: runtime\npackages: [make]\n")
    assert envmatrix("init", "--yes").status == 0
    assert (library / "noxfile.py").read_text() == "# mine\n"
    assert (library / ".gitignore").read_text() == "*.o\n/build/\n/.envmatrix/\n"
    assert load_matrix(library).flavours["devel"].packages == ("make",)


def test_values_that_make_no_matrix_are_explained_and_nothing_is_written(
    library: Path, envmatrix: Prompt
) -> None:
    answer = envmatrix("init", "--yes", "--cuda", "13.0", "--os", "bookworm")
    assert answer.status == 2
    assert "error: matrix.yaml:" in answer.err
    assert [path.name for path in library.iterdir()] == ["CMakeLists.txt"]


def test_a_wrong_answer_is_explained_and_asked_again(
    library: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal("99.9\nx86_64\n90\n13.0\n\n\n"))
    answer = envmatrix("init", "--os", "debian12")
    assert answer.status == 0
    assert "`99.9`" in answer.err
    (cell,) = load_matrix(library).cells
    assert cell.cuda == "13.0"


def test_no_answers_take_what_is_proposed(library: Path, envmatrix: Prompt) -> None:
    assert envmatrix("init").status == 0  # no terminal, so nothing is asked
    assert load_matrix(library).cells


def test_envmatrix_alone_tells_the_next_step(library: Path, envmatrix: Prompt) -> None:
    assert envmatrix().out == "there is no matrix.yaml here or above\nnext     envmatrix init\n"
    envmatrix("init", "--yes")
    answer = envmatrix()
    assert answer.status == 0
    assert answer.out.splitlines() == [
        "matrix   1 cell, 1 library",
        "lock     missing",
        "next     envmatrix lock",
    ]
    (library / "matrix.yaml").write_text("version: 2\n")
    assert envmatrix().status == 2
