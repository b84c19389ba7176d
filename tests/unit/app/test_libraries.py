"""Which libraries are worked on in a cell, and why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fakes import write_repository

from envmatrix.app.selected_libraries import find_libraries
from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError

AXES = 'cuda: ["12.4", "13.0"]\nos: [debian12]\narch: [x86_64]'
NEW, OLD = "cuda13.0-debian12-x86_64", "cuda12.4-debian12-x86_64"
LIBRARIES = """\
libraries:
  everywhere: {path: one}
  new: {path: two, cells: ["cuda13*"]}
"""


VARIANTS = """\
libraries:
  ops:
    path: one
    variants:
      std: ["17", "20"]
      named: {debug: {build_type: Debug}}
      exclude: [{named: debug, cells: cuda12*, reason: slow}]
"""


def workspace(root: Path, libraries: str = LIBRARIES) -> Workspace:
    write_repository(root, AXES, libraries)
    for name in ("one", "two"):
        (root / name).mkdir()
    return Workspace(root)


def names(tree: Workspace, cell: str, *named: str) -> list[str]:
    _, libraries = find_libraries(tree, cell, named)
    return [library.name for library in libraries]


def test_all_libraries_of_a_cell_or_the_named_ones(tmp_path: Path) -> None:
    tree = workspace(tmp_path / "repository")
    assert names(tree, NEW) == ["everywhere", "new"]
    assert names(tree, OLD) == ["everywhere"]
    assert names(tree, NEW, "new") == ["new"]
    assert names(tree, NEW, "new", "everywhere", "new") == ["everywhere", "new"]


def test_a_cell_has_the_variants_that_it_can_build(tmp_path: Path) -> None:
    tree = workspace(tmp_path / "repository", VARIANTS)
    assert names(tree, NEW) == ["ops", "ops@cxx20", "ops@debug"]
    assert names(tree, OLD) == ["ops", "ops@cxx20"]
    assert names(tree, NEW, "ops") == ["ops"]
    assert names(tree, NEW, "ops@*", "ops") == ["ops", "ops@cxx20", "ops@debug"]


def test_the_reason_that_a_named_variant_is_left_out_is_told(tmp_path: Path) -> None:
    tree = workspace(tmp_path / "repository", VARIANTS)
    with pytest.raises(ConfigurationError) as caught:
        names(tree, OLD, "ops@debug")
    (problem,) = caught.value.problems
    assert problem.message == f"library `ops@debug` is not for `{OLD}`: slow"
    assert problem.hint == f"see all rules: `envmatrix why {OLD} --library ops@debug`"


@pytest.mark.parametrize(
    ("named", "cell", "problems"),
    [
        (
            ("everywhere", "new"),
            OLD,
            [(f"library `new` is not for `{OLD}`", "its `cells` in matrix.yaml say which")],
        ),
        (
            ("nex", "other", "new", "nex"),
            NEW,
            [
                ("matrix.yaml has no library `nex`", "did you mean `new`?"),
                ("matrix.yaml has no library `other`", "it has `everywhere`, `new`"),
            ],
        ),
    ],
)
def test_each_named_library_that_is_not_for_the_cell_is_refused(
    tmp_path: Path, named: Sequence[str], cell: str, problems: Sequence[tuple[str, str]]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        names(workspace(tmp_path / "repository"), cell, *named)
    assert [(each.message, each.hint) for each in refused.value.problems] == problems


@pytest.mark.parametrize(
    ("libraries", "message"),
    [
        ("", "matrix.yaml lists no libraries"),
        ('libraries: {new: {path: two, cells: ["cuda13*"]}}\n', f"no library is for `{OLD}`"),
    ],
)
def test_a_cell_without_libraries_is_refused(tmp_path: Path, libraries: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        names(workspace(tmp_path / "repository", libraries), OLD)
    assert refused.value.problems[0].message == message


def test_a_library_without_its_directory_is_shown_with_its_position(tmp_path: Path) -> None:
    tree = workspace(tmp_path / "repository")
    (tree.root / "two").rmdir()
    with pytest.raises(ConfigurationError) as refused:
        names(tree, NEW)
    (problem,) = refused.value.problems
    assert problem.message == "library `new`: there is no directory `two`"
    assert str(problem.position).startswith("matrix.yaml:")
