"""Which libraries are worked on in a cell, and why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes import write_repository

from envmatrix.app.cell_session import find_libraries
from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError

AXES = 'cuda: ["12.4", "13.0"]\nos: [debian12]\narch: [x86_64]'
NEW, OLD = "cuda13.0-debian12-x86_64", "cuda12.4-debian12-x86_64"
LIBRARIES = """\
libraries:
  everywhere: {path: one}
  new: {path: two, cells: ["cuda13*"]}
"""


def workspace(root: Path, libraries: str = LIBRARIES) -> Workspace:
    write_repository(root, AXES, libraries)
    for name in ("one", "two"):
        (root / name).mkdir()
    return Workspace(root)


def names(tree: Workspace, name: str | None, cell: str) -> list[str]:
    _, libraries = find_libraries(tree, cell, name)
    return [library.name for library in libraries]


def test_all_libraries_of_a_cell_or_the_named_one(tmp_path: Path) -> None:
    tree = workspace(tmp_path / "repository")
    assert names(tree, None, NEW) == ["everywhere", "new"]
    assert names(tree, None, OLD) == ["everywhere"]
    assert names(tree, "new", NEW) == ["new"]


@pytest.mark.parametrize(
    ("name", "cell", "message", "hint"),
    [
        ("new", OLD, f"library `new` is not for `{OLD}`", "its `cells` in matrix.yaml say which"),
        ("nex", NEW, "matrix.yaml has no library `nex`", "it has `everywhere`, `new`"),
    ],
)
def test_a_named_library_that_is_not_for_the_cell_is_refused(
    tmp_path: Path, name: str, cell: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        names(workspace(tmp_path / "repository"), name, cell)
    (problem,) = refused.value.problems
    assert (problem.message, problem.hint) == (message, hint)


@pytest.mark.parametrize(
    ("libraries", "message"),
    [
        ("", "matrix.yaml lists no libraries"),
        ('libraries: {new: {path: two, cells: ["cuda13*"]}}\n', f"no library is for `{OLD}`"),
    ],
)
def test_a_cell_without_libraries_is_refused(tmp_path: Path, libraries: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        names(workspace(tmp_path / "repository", libraries), None, OLD)
    assert refused.value.problems[0].message == message


def test_a_library_without_its_directory_is_shown_with_its_position(tmp_path: Path) -> None:
    tree = workspace(tmp_path / "repository")
    (tree.root / "two").rmdir()
    with pytest.raises(ConfigurationError) as refused:
        names(tree, None, NEW)
    (problem,) = refused.value.problems
    assert problem.message == "library `new`: there is no directory `two`"
    assert str(problem.position).startswith("matrix.yaml:")
