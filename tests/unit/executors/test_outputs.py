"""Outputs of jobs in a directory: kept by content, verified, and unpacked into another area."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.confined import Area
from envmatrix.errors import EngineError
from envmatrix.executors.outputs import DirectoryOutputs, keep_outputs, restore_outputs

JOB, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def build(tmp_path: Path) -> Path:
    build = tmp_path / "build"
    (build / "lib").mkdir(parents=True)
    (build / "lib/library.so.1").write_bytes(b"code")
    (build / "lib/library.so").symlink_to("library.so.1")
    return build


def stored(tmp_path: Path, build: Path, *jobs: str) -> DirectoryOutputs:
    outputs = DirectoryOutputs(tmp_path / "outputs")
    for job in jobs:
        keep_outputs(outputs, job, Area(build))
    return outputs


def test_outputs_come_back_as_they_were(tmp_path: Path, build: Path) -> None:
    outputs, target = stored(tmp_path, build, JOB), tmp_path / "target"
    target.mkdir()
    (target / "left over").touch()
    assert restore_outputs(outputs, JOB, Area(target))
    assert (target / "lib/library.so").read_bytes() == b"code"
    assert (target / "lib/library.so").is_symlink()
    assert not (target / "left over").exists()


def test_equal_outputs_are_kept_once(tmp_path: Path, build: Path) -> None:
    outputs = stored(tmp_path, build, JOB, OTHER)
    assert outputs.find(JOB) == outputs.find(OTHER)
    assert len([*(tmp_path / "outputs/sha256").iterdir()]) == 1


def test_there_are_none_of_a_job_that_kept_none(tmp_path: Path, build: Path) -> None:
    outputs = stored(tmp_path, build, JOB)
    assert not restore_outputs(outputs, OTHER, Area(build))
    assert (build / "lib/library.so").exists()


@pytest.mark.parametrize("name", ["", "sha256:1", "../../etc/passwd", f"sha256:{'0' * 64}"])
def test_a_name_that_leads_nowhere_counts_as_none(tmp_path: Path, build: Path, name: str) -> None:
    outputs = stored(tmp_path, build, JOB)
    (tmp_path / "outputs/jobs" / JOB).write_text(name)
    assert outputs.find(JOB) is None


def test_damaged_outputs_are_refused_before_anything_is_replaced(
    tmp_path: Path, build: Path
) -> None:
    outputs = stored(tmp_path, build, JOB)
    (archive,) = (tmp_path / "outputs/sha256").iterdir()
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(EngineError, match="damaged"):
        restore_outputs(outputs, JOB, Area(build))
    assert (build / "lib/library.so").exists()
