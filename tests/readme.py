"""The commands of the README, as tests and benchmarks run them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.tables import marked

ROOT = Path(__file__).parents[1]
_COMMAND = re.compile(r"(?m)^(?!```)((?:\S+ )*\S+?)(?: +#.*)?$")


def commands(name: str) -> Sequence[str]:
    """Return the commands between the marks `name`, without comments."""
    return _COMMAND.findall(marked("README.md", name))


def quick_start() -> Sequence[str]:
    """Return the commands from the wheel in `dist/` to a passing test: the one that installs it
    into a virtual environment, then those for a repository."""
    _, with_pip, *_ = commands("installation")
    return (with_pip, *commands("quick start"))


def build_wheel(directory: Path) -> None:
    """Build the wheel of the working tree in `dist/` of a directory, by the README's command."""
    build, *_ = commands("installation")
    in_directory = build.replace(" -w dist .", f" -w {directory}/dist {ROOT}")
    run_command(in_directory, directory)


def run_command(command: str, directory: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints; it takes Python from the environment of the tests."""
    done = subprocess.run(
        ["bash", "-euc", re.sub(r"^python3 ", f"{sys.executable} ", command)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
