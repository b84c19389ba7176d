"""What the sessions run, with a stand-in for `envmatrix` that notes how it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envmatrix.sessions import registration

ROOT = Path(__file__).parents[2]
NOXFILE = ROOT / "noxfile.py"

STAND_IN = """\
#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
"""


def run(directory: Path, noxfile: Path, *arguments: str) -> list[str]:
    """Return the calls of the stand-in in `directory` by nox with these arguments."""
    (directory / "envmatrix").write_text(STAND_IN)
    (directory / "envmatrix").chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ENVMATRIX_CACHE": str(directory)}
    command = [sys.executable, "-m", "nox", "-f", str(noxfile), "-s", *arguments]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    return (directory / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("session", "call"),
    [
        ("matrix", "test"),
        ("matrix-pr", "test --tier pr"),
        ("matrix-perf", "perf"),
        ("pull", "pull"),
    ],
)
def test_sessions_of_many_cells_pass_their_arguments_on(
    tmp_path: Path, session: str, call: str
) -> None:
    assert run(tmp_path, NOXFILE, session, "--", "--select", "a*") == [f"{call} --select a*"]


def test_a_noxfile_of_three_lines_is_enough_and_its_sessions_have_no_environment_of_their_own(
    tmp_path: Path,
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("matrix.yaml", "envs"):
        (repository / name).symlink_to(ROOT / name)
    noxfile = repository / "noxfile.py"
    noxfile.write_text(str(registration.__doc__).partition("\n\n")[2])
    assert run(tmp_path, noxfile, "build-cuda12-aarch64") == [
        "run compile cuda12.4-debian12-aarch64"
    ]
    assert not (repository / ".nox").exists()


def test_release_notes_are_the_section_of_a_version(tmp_path: Path) -> None:
    (tmp_path / "noxfile.py").write_text(NOXFILE.read_text("utf-8"), encoding="utf-8")
    for name in ("matrix.yaml", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 2.0, today\n\n- new\n\n## 1.0, then\n"
    )
    command = [
        sys.executable,
        "-m",
        "nox",
        "-f",
        str(tmp_path / "noxfile.py"),
        "-s",
        "release-notes",
    ]
    done = subprocess.run([*command, "--", "2.0"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "## 2.0, today\n\n- new"
