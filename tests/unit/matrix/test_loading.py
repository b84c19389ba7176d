from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.fakes import write_repository

from envmatrix.errors import ConfigurationError
from envmatrix.matrix.loading import load_matrix


def test_the_problems_of_all_files_are_told_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("version: 2\n")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/a.yaml").write_text("flavour: b\n")
    (tmp_path / "envs/c.yaml").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        load_matrix(tmp_path)
    assert [str(problem) for problem in caught.value.problems] == [
        "matrix.yaml:1:1: `axes` is missing",
        "matrix.yaml:1:1: `sm` is missing",
        "matrix.yaml:1:10: `version` must be `1`, not `2`",
        "envs/c.yaml:1:1: the file is empty",
        "envs/a.yaml:1:10: flavour `b` is described in a file called `a`",
    ]


def test_a_repository_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"`matrix.yaml` does not exist"):
        load_matrix(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("cross", None, "there is no flavour `cross`"),
        ("cross", "flavour: cross\nextends: devel\n", "envs/cross.yaml:1:1: flavour `cross` needs"),
        ("devel", "flavour: devel\npackages: [make]\n", "flavour `devel` must extend `runtime`"),
        ("runtime", "flavour: runtime\npackages: []\n", "envs/runtime.yaml:2:1: flavour `runtime`"),
    ],
)
def test_flavours_that_can_make_no_image_are_refused(
    tmp_path: Path, file: str, text: str | None, problem: str
) -> None:
    root = write_repository(tmp_path, 'cuda: ["13.0"]\nos: [debian12]\narch: [aarch64]')
    path = root / f"envs/{file}.yaml"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_matrix(root)
    (message,) = map(str, caught.value.problems)
    assert problem in message


def test_the_hints_for_flavours_that_are_not_there_are_enough_of_them(tmp_path: Path) -> None:
    root = write_repository(tmp_path, 'cuda: ["13.0"]\nos: [debian12]\narch: [aarch64]')
    shutil.rmtree(root / "envs")
    with pytest.raises(ConfigurationError) as caught:
        load_matrix(root)

    (root / "envs").mkdir()
    for problem in caught.value.problems:
        assert problem.hint
        example = re.search(r"in `(envs/\w+\.yaml)`, for example: `(.*)`$", problem.hint)
        assert example, problem
        (root / example[1]).write_text(example[2])

    assert load_matrix(root).cells
