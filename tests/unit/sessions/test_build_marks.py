from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from envmatrix.sessions.build_marks import forget, is_marked, mark


@pytest.fixture
def build(tmp_path: Path) -> Path:
    build = tmp_path / "devel"
    build.mkdir()
    (build / "library.so").touch()
    mark(tmp_path, "devel", "job")
    return build


def test_a_build_directory_has_the_outputs_of_the_job_that_it_is_marked_with(
    build: Path,
) -> None:
    assert is_marked(build.parent, "devel", "job")
    assert not is_marked(build.parent, "devel", "jo")
    assert not is_marked(build.parent, "devel", "other")
    assert not is_marked(build.parent, "cross", "job")


def test_a_mark_can_be_forgotten(build: Path) -> None:
    forget(build.parent, "devel")
    forget(build.parent, "devel")
    assert not is_marked(build.parent, "devel", "job")


def test_a_directory_is_configured_apart_from_its_job_and_both_are_forgotten(build: Path) -> None:
    assert not is_marked(build.parent, "devel", "job", "configured")
    mark(build.parent, "devel", "state", "configured")
    assert is_marked(build.parent, "devel", "job")
    assert is_marked(build.parent, "devel", "state", "configured")
    forget(build.parent, "devel")
    assert not is_marked(build.parent, "devel", "state", "configured")


def test_another_directory_of_the_name_is_not_marked(build: Path) -> None:
    build.rename(build.with_name("moved"))
    shutil.copytree(build.with_name("moved"), build)
    assert not is_marked(build.parent, "devel", "job")


def test_a_directory_that_was_cleared_is_not_marked(build: Path) -> None:
    (build / "library.so").unlink()
    assert not is_marked(build.parent, "devel", "job")
