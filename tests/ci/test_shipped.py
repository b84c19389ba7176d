"""The pipeline of this repository's own matrix: its files for every engine, and a cell of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.adopter import ROOT, Adopter, machine
from tests.ci.pipelines import Nodes, by_hand
from tests.integration.conftest import CELL
from tests.repositories import committed, git

GENERATED = (".github", ".gitlab", "Jenkinsfile", "jenkins")
MOST_LINES, MOST_BYTES = 150, 16 << 10


@pytest.fixture(scope="module")
def shipped(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    """A copy of this repository as it is, with the files for all engines."""
    directory = tmp_path_factory.mktemp("shipped")
    root = directory / "repository"
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    user = Adopter(root, wheels, machine(directory))
    for engine in ("github", "gitlab", "jenkins"):
        done = user.run("generate", engine)
        assert done.returncode == 0, done.stderr
    committed(root)
    return user


def test_files_for_engines_are_small(shipped: Adopter) -> None:
    paths = [shipped.root / name for name in GENERATED]
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    assert len(files) >= len(GENERATED)
    for file in files:
        text = file.read_text()
        assert text.count("\n") <= MOST_LINES, file
        assert len(text.encode()) <= MOST_BYTES, file


def test_a_cell_of_the_matrix_is_green(shipped: Adopter, tmp_path: Path) -> None:
    ended = by_hand(Nodes(shipped, tmp_path), "--select", CELL, "--library", "vectorops")
    assert ended.is_green, ended.log
    assert {*ended.states.values()} <= {"done", "skipped"}
    assert "done" in ended.states.values()
