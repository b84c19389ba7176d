"""What the sessions run, with a stand-in for `envmatrix` that notes how it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NOXFILE = Path(__file__).parents[2] / "noxfile.py"

STAND_IN = """\
#!/bin/sh
if [ "$1" = plan ]; then echo '{"cells": [{"cell": "b"}, {"cell": "a"}]}'; fi
echo "$@" >> "$(dirname "$0")/calls"
"""


def test_the_matrix_session_runs_the_cells_of_a_tier(tmp_path: Path) -> None:
    (tmp_path / "envmatrix").write_text(STAND_IN)
    (tmp_path / "envmatrix").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ENVMATRIX_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "nox", "-f", str(NOXFILE), "-s", "matrix", "--"]
    arguments = ["--library", "mine", "--tier", "pr", "--", "-L", "host"]
    subprocess.run([*command, *arguments], env=environment, capture_output=True, check=True)
    assert (tmp_path / "calls").read_text().splitlines() == [
        "plan --tier pr --json",
        "run test b --library mine -- -L host",
        "run test a --library mine -- -L host",
    ]
