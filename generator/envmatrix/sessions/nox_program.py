"""nox, on a machine where `envmatrix doctor` finds nothing missing; `noxw` runs it as
`python -m envmatrix.sessions.nox_program`."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile

from envmatrix.machine.readiness import is_ready

# Options that run no session.
_QUESTIONS = {"-l", "--list", "--list-sessions", "-h", "--help", "--version"}


def main() -> None:
    if needs_engine(sys.argv[1:], os.environ) and not is_ready():
        doctor = [sys.executable, "-m", "envmatrix", "doctor", "--fix", "--quiet"]
        subprocess.run(doctor, check=False)  # a session that needs the engine says so itself
    runpy.run_module("nox", run_name="__main__", alter_sys=True)


def needs_engine(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether nox may run a session that needs the engine."""
    options = takewhile("--".__ne__, arguments)
    return not environment.get("ENVMATRIX_NO_ENGINE") and _QUESTIONS.isdisjoint(options)


if __name__ == "__main__":
    main()
