"""Outputs of jobs in a directory: kept by content, verified, and unpacked into another area."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.confined import Area
from envmatrix.errors import Absent, EngineError
from envmatrix.executors.outputs import (
    DirectoryOutputs,
    SeveralOutputs,
    keep_outputs,
    restore_outputs,
)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    build = tmp_path / "build"
    (build / "lib").mkdir(parents=True)
    (build / "lib/library.so.1").write_bytes(b"code")
    (build / "lib/library.so").symlink_to("library.so.1")
    return build


@pytest.fixture
def outputs(tmp_path: Path) -> DirectoryOutputs:
    return DirectoryOutputs(tmp_path / "outputs")


def test_outputs_come_back_as_they_were(
    outputs: DirectoryOutputs, build: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "left over").touch()
    restore_outputs(outputs, keep_outputs(outputs, Area(build)), Area(target))
    assert (target / "lib/library.so").read_bytes() == b"code"
    assert (target / "lib/library.so").is_symlink()
    assert not (target / "left over").exists()


def test_equal_outputs_are_kept_once(outputs: DirectoryOutputs, build: Path) -> None:
    assert keep_outputs(outputs, Area(build)) == keep_outputs(outputs, Area(build))
    assert len([*outputs.directory.iterdir()]) == 1


def test_an_empty_area_has_no_outputs(outputs: DirectoryOutputs, tmp_path: Path) -> None:
    assert keep_outputs(outputs, Area(tmp_path / "empty")) == ""


def test_outputs_that_are_gone_are_no_reason_to_clear_anything(
    outputs: DirectoryOutputs, build: Path
) -> None:
    with pytest.raises(Absent):
        restore_outputs(outputs, f"sha256:{'0' * 64}", Area(build))
    assert (build / "lib/library.so").exists()


def test_damaged_outputs_are_refused_before_anything_is_replaced(
    outputs: DirectoryOutputs, build: Path
) -> None:
    digest = keep_outputs(outputs, Area(build))
    (archive,) = outputs.directory.iterdir()
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(EngineError, match="damaged"):
        restore_outputs(outputs, digest, Area(build))
    assert (build / "lib/library.so").exists()
    assert keep_outputs(outputs, Area(build)) == digest  # and are replaced
    restore_outputs(outputs, digest, Area(build))


def test_outputs_are_read_from_any_place_and_kept_in_the_first(
    outputs: DirectoryOutputs, build: Path, tmp_path: Path
) -> None:
    first, target = DirectoryOutputs(tmp_path / "first"), tmp_path / "target"
    several = SeveralOutputs(first, [DirectoryOutputs(tmp_path / "nowhere"), outputs])
    digest = keep_outputs(outputs, Area(build))
    restore_outputs(several, digest, Area(target))
    assert (target / "lib/library.so").read_bytes() == b"code"
    with pytest.raises(Absent):
        restore_outputs(several, f"sha256:{'0' * 64}", Area(target))
    keep_outputs(several, Area(build))
    restore_outputs(first, digest, Area(target))
