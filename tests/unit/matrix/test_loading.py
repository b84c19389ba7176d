from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.fakes import write_repository

from envmatrix.errors import ConfigurationError
from envmatrix.matrix.flavours import IMAGES
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import DEV

ROOT = Path(__file__).parents[3]
_ONE_CELL = 'version: "1"\naxes: {cuda: ["13.0"], os: [debian12], arch: [x86_64]}\nsm: ["90"]\n'


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
        ("cross", "flavour: cross\nextends: devel\n", "envs/cross.yaml:1:1: flavour `cross` needs"),
        ("devel", "flavour: devel\npackages: [make]\n", "flavour `devel` must extend `runtime`"),
        ("runtime", "flavour: runtime\npackages: []\n", "envs/runtime.yaml:2:1: flavour `runtime`"),
    ],
)
def test_flavours_that_can_make_no_image_are_refused(
    tmp_path: Path, file: str, text: str, problem: str
) -> None:
    root = write_repository(tmp_path, 'cuda: ["13.0"]\nos: [debian12]\narch: [aarch64]')
    (root / f"envs/{file}.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_matrix(root)
    (message,) = map(str, caught.value.problems)
    assert problem in message


def test_flavours_without_a_file_are_those_of_this_repository(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(_ONE_CELL)
    matrix = load_matrix(tmp_path)
    (tmp_path / "envs").mkdir()
    for name in IMAGES:
        shutil.copy(ROOT / f"envs/{name}.yaml", tmp_path / "envs")
    assert matrix.flavours == load_matrix(tmp_path).flavours
    assert [*matrix.flavours] == [*IMAGES, DEV]


def test_a_file_replaces_the_built_in_flavour(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(_ONE_CELL)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/devel.yaml").write_text(
        "flavour: devel\nextends: runtime\npackages: [make, meson]\n"
    )
    flavours = load_matrix(tmp_path).flavours
    assert flavours["devel"].packages == ("make", "meson")
    assert "cmake" in flavours["runtime"].packages


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("matrix.d/a.yml", "name it `matrix.d/a.yaml`, or move it away"),
        ("matrix.d/next/a.yaml", "name it `matrix.d/a.yaml`, or move it away"),
        ("envs/devel.yml", "name it `envs/devel.yaml`, or move it away"),
    ],
)
def test_files_that_only_look_like_those_of_a_matrix_are_refused(
    tmp_path: Path, name: str, hint: str
) -> None:
    (tmp_path / "matrix.yaml").write_text(_ONE_CELL)
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    with pytest.raises(ConfigurationError) as caught:
        load_matrix(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == (f"`{name}` is not read", hint)


def test_directories_of_other_tools_may_be_beside_flavours(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(_ONE_CELL)
    (tmp_path / "envs/conda").mkdir(parents=True)
    (tmp_path / "envs/conda/environment.yml").touch()
    assert load_matrix(tmp_path).cells
