"""`envmatrix init` in the directory of a library."""

from __future__ import annotations

import errno
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.prompt import Prompt

from envmatrix.adoption.files import Axes
from envmatrix.files import write_whole
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
    assert answer.err.endswith(
        "error: unknown operating system `bookworm`\nhint: did you mean `debian12`?\n"
    )
    assert [path.name for path in library.iterdir()] == ["CMakeLists.txt"]


def test_a_wrong_answer_is_explained_and_asked_again(
    library: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal("99.9\nx86_64\n90\n13.0\n\n\n"))
    answer = envmatrix("init", "--os", "debian12")
    assert answer.status == 0
    assert "error: unknown CUDA release `99.9`" in answer.err
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


def test_what_options_give_is_not_asked(
    library: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal(""))
    words = ("--cuda", "13.0", "--os", "debian12", "--arch", "x86_64", "--sm", "90")
    assert envmatrix("init", *words).status == 0
    assert load_matrix(library).cells


def test_the_operating_system_is_asked_for_where_no_cell_is_possible(
    library: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "envmatrix.commands.init.default_axes",
        lambda: Axes(("13.0",), ("debian13",), ("x86_64",), ("90",)),
    )
    monkeypatch.setattr("sys.stdin", _Terminal("11.8\n\n80\ndebian12\n11.8\n\n80\n"))
    assert envmatrix("init").status == 0
    (cell,) = load_matrix(library).cells
    assert (cell.cuda, cell.os) == ("11.8", "debian12")


def test_lines_are_added_to_the_file_of_ignored_names_as_it_is(
    library: Path, envmatrix: Prompt
) -> None:
    file = library / ".gitignore"
    file.write_bytes(b"caf\xe9\r\n")
    file.chmod(0o600)
    assert envmatrix("init", "--yes").status == 0
    assert file.read_bytes() == b"caf\xe9\r\n/build/\r\n/.envmatrix/\r\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_if_a_file_cannot_be_written(
    library: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, content: bytes) -> None:
        if file == library / "noxfile.py":
            raise OSError(errno.ENOSPC, "no space left on device")
        write_whole(file, content)

    monkeypatch.setattr("envmatrix.app.adoption.write_whole", refuse)
    answer = envmatrix("init", "--yes")
    assert answer.status == 1
    assert "no space left on device" in answer.err
    assert [path.name for path in library.iterdir() if path.is_file()] == ["CMakeLists.txt"]


def test_a_file_in_place_of_envs_is_told_before_anything_is_written(
    library: Path, envmatrix: Prompt
) -> None:
    (library / "envs").write_text("")
    answer = envmatrix("init", "--yes")
    assert answer.status == 2
    assert "error: `envs` is no directory" in answer.err
    assert not (library / "matrix.yaml").exists()


def test_what_cannot_be_read_or_is_not_changed_is_told(library: Path, envmatrix: Prompt) -> None:
    (library / "CMakePresets.json").write_text("{")
    os.mkfifo(library / "pyproject.toml")
    (library / "envs").mkdir()
    (library / "envs/devel.yaml").write_text("flavour: devel\nextends: runtime\npackages: [make]\n")
    answer = envmatrix("init", "--yes")
    assert answer.status == 0
    assert "warning: `pyproject.toml` cannot be read: it is no regular file" in answer.err
    assert "warning: CMakePresets.json or a file that it includes is invalid" in answer.err
    assert "warning: `envs/devel.yaml` exists, and is not changed: it may need lib" in answer.err


def test_a_library_in_a_directory_of_any_name_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, envmatrix: Prompt
) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    root.mkdir()
    (root / "CMakeLists.txt").write_text(LIBRARY)
    monkeypatch.chdir(root)
    assert envmatrix("init", "--yes").status == 0
    assert envmatrix().out.splitlines()[-1] == "next     envmatrix lock"


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_streams_may_be_closed(library: Path, closed: str) -> None:
    program = f"{shlex.quote(sys.executable)} -m envmatrix"
    for verb in ("--help", "init"):
        done = subprocess.run(
            ["sh", "-c", f"{program} {verb} {closed}"], capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        assert "internal" not in done.stderr
    assert (library / "matrix.yaml").exists()


def test_help_that_cannot_be_printed_is_an_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m envmatrix --help >/dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: no space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_presets_of_included_files_are_read_and_missing_ones_told(
    library: Path, envmatrix: Prompt
) -> None:
    (library / "CMakePresets.json").write_text('{"include": ["cmake/p.json", "none.json"]}')
    (library / "cmake").mkdir()
    (library / "cmake/p.json").write_text('{"configurePresets": [{"name": "default"}]}')
    answer = envmatrix("init", "--yes")
    assert "build    CMake with the preset `default`" in answer.err
    assert "warning: `none.json` cannot be read: no such file" in answer.err
