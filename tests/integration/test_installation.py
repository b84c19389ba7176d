"""The ways to install envmatrix that the README names, each by its own program."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.readme import build_wheel, commands, run_command

_, *WAYS = commands("installation")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel, built by the command of the README."""
    directory = tmp_path_factory.mktemp("installation")
    build_wheel(directory)
    return directory


def run(command: str, directory: Path, variables: Mapping[str, str]) -> str:
    return run_command(command, directory, {**os.environ, **variables})


def test_the_readme_names_every_way() -> None:
    assert [way.split()[0] for way in WAYS] == ["python3", "uv", "pipx", "uvx"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.split()[0])
def test_the_wheel_is_installed_and_its_program_runs(way: str, wheel: Path, tmp_path: Path) -> None:
    program = way.split()[0]
    if not shutil.which(program):
        pytest.skip(f"{program} is missing")
    variables = {
        "HOME": str(tmp_path),
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PYTHONPATH": "",
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_BIN_HOME": str(tmp_path / "bin"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
    }
    if program == "python3":  # into a virtual environment
        run(f"python3 -m venv {tmp_path}", tmp_path, {})
        run(way.replace("python3", f"{tmp_path}/bin/python"), wheel, variables)
    else:
        printed = run(way, wheel, variables)
        if program == "uvx":
            assert "Verbs:" in printed
            return
    assert "envmatrix, version" in run(f"{tmp_path}/bin/envmatrix --version", tmp_path, variables)
