"""What the sessions run, with a stand-in for `envmatrix` that notes how it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from envmatrix.sessions import registration

ROOT = Path(__file__).parents[2]
NOXFILE = ROOT / "noxfile.py"

STAND_IN = """\
#!/bin/sh
if [ "$1" = plan ]; then echo '{"cells": [{"cell": "b"}, {"cell": "a"}]}'; fi
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


def test_the_matrix_session_runs_the_cells_of_a_tier(tmp_path: Path) -> None:
    arguments = ["--library", "mine", "--tier", "pr", "--", "-L", "host"]
    assert run(tmp_path, NOXFILE, "matrix", "--", *arguments) == [
        "plan --tier pr --json",
        "run test b --library mine -- -L host",
        "run test a --library mine -- -L host",
    ]


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
