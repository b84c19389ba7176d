"""`envmatrix gc --outputs-older-than`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.jobs.test_schedule import job
from tests.unit.prompt import Prompt
from tests.unit.results.examples import run

from envmatrix.results.job_records import JobRecords
from envmatrix.results.records import End

LONG_AGO = 1_700_000_000
OLD, RECORDED, NEW = (f"{digit * 64}.outputs" for digit in "012")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with old and new outputs, of which a record has some."""
    directory = tmp_path / "outputs"
    directory.mkdir()
    for name in (OLD, RECORDED, NEW):
        (directory / name).write_text("an archive")
    for name in (OLD, RECORDED):
        os.utime(directory / name, (LONG_AGO, LONG_AGO))
    records, digest = JobRecords(tmp_path / "records"), f"sha256:{'1' * 64}"
    records.keep(job("a" * 64), [run(LONG_AGO), End("passed", 1.0)], digest)
    file = tmp_path / "configuration/envmatrix/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'[jobs]\nrecords = "{tmp_path}/records"\noutputs = "{directory}"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    return directory


def names(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()}


def test_old_outputs_that_no_record_has_are_removed(envmatrix: Prompt, outputs: Path) -> None:
    answer = envmatrix("gc", "--outputs-older-than", "30", "--dry-run")
    assert answer.status == 0, answer.err
    assert names(outputs) == {OLD, RECORDED, NEW}
    answer = envmatrix("gc", "--outputs-older-than", "30", "--yes")
    assert answer.out.split()[:3] == ["job", "output", "1"]
    assert names(outputs) == {RECORDED, NEW}


def test_the_removal_goes_on_after_outputs_that_stay(
    envmatrix: Prompt, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def refuse(file: Path, *, missing_ok: bool = False) -> None:
        if file.name == OLD:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        unlink(file, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    os.utime(outputs / NEW, (LONG_AGO, LONG_AGO))
    answer = envmatrix("gc", "--outputs-older-than", "30", "--yes")
    assert answer.status == 0
    assert f"warning: the job output `{'0' * 64}` stays: Permission denied" in answer.err
    assert names(outputs) == {OLD, RECORDED}


def test_nothing_is_removed_where_nobody_can_be_asked(envmatrix: Prompt, outputs: Path) -> None:
    answer = envmatrix("gc", "--outputs-older-than", "30")
    assert "nobody can be asked" in answer.err
    assert names(outputs) == {OLD, RECORDED, NEW}


def test_a_configuration_without_places_is_told(
    envmatrix: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    answer = envmatrix("gc", "--outputs-older-than", "30")
    assert "error: nothing says where jobs store outputs" in answer.err


def test_revisions_are_not_for_outputs(envmatrix: Prompt) -> None:
    answer = envmatrix("gc", "--outputs-older-than", "30", "--keep", "main")
    assert answer.status == 2
    assert "--keep is for images and files" in answer.err
