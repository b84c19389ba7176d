"""How long does a job of CI take from its trigger to its first test?

The generated workflow of GitHub Actions, which `act` runs in processes of this machine, for one
library in one cell whose images are there: it plans, compiles and tests. Its test writes the time
at which it begins, and so does `docker run` with the image of the test, started by hand, just
before. Target: at most 3 s more than `docker run`. On a busy machine, programs start as slowly as
it is busy: its load is printed.
"""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.timing import ROOT
from tests.github import Machine, run_workflow
from tests.repositories import commit, git

from envmatrix import __version__

_IMAGE = "envmatrix/cuda13.5-debian12:runtime-amd64"
_MATRIX = """\
version: "1"
axes: {cuda: ["13.5"], os: [debian12], arch: [x86_64, aarch64]}
sm: ["90"]
libraries:
  clock:
    path: clock
    cells: [cuda13.5-debian12-x86_64]
    build: {system: script, commands: ["cp /src/word /build"]}
    test: {framework: commands, run: ["echo began $(date +%s.%N) >&2; false"]}
"""
_BEGAN = re.compile(r"began (\d+\.\d+)")
_ROUNDS = 3


def main() -> None:
    differences = []
    for _ in range(_ROUNDS):
        with TemporaryDirectory(prefix="envmatrix-trigger-") as directory:
            place = _Place(Path(directory))
            by_hand = _by_hand()
            by_ci = place.seconds_to_first_test()
        differences.append(by_ci - by_hand)
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        print(f"docker run {by_hand:.2f} s, act {by_ci:.2f} s, load {load:.1f} a processor")
    print(f"{median(differences):+.2f} s to `docker run`")


def _by_hand() -> float:
    started = time.time()
    command = ["docker", "run", "--rm", "--network=none", _IMAGE, "date", "+%s.%N"]
    return float(subprocess.run(command, check=True, capture_output=True).stdout) - started


class _Place:
    """A repository, and a machine with records of jobs of its own."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "repository"
        self.machine = Machine(
            directory / "artifacts",
            directory / "tools",
            {
                "ENVMATRIX_RESULTS": f"sqlite:///{directory}/results.sqlite",
                "XDG_CONFIG_HOME": _configuration(directory),
            },
        )
        _make(self.root)
        _install(self.machine.tools)

    def seconds_to_first_test(self) -> float:
        """Trigger the workflow; its test fails, so that its output is kept."""
        self.machine.artifacts.mkdir()
        started = time.time()
        run_workflow(self.root, "workflow_dispatch", {"inputs": {}}, self.machine)
        texts = (file.read_text() for file in self.machine.artifacts.glob("test-*/*/outcome.json"))
        return min(float(moment) for text in texts for moment in _BEGAN.findall(text)) - started


def _make(root: Path) -> None:
    shutil.copytree(ROOT / "envs", root / "envs", ignore=shutil.ignore_patterns("analysis*"))
    shutil.copy(ROOT / "matrix.lock.json", root)
    (root / "matrix.yaml").write_text(_MATRIX)
    (root / "clock").mkdir()
    (root / "clock/word").write_text(f"{time.time()}\n")
    (root / ".gitignore").write_text("/build/\n")
    for words in ["lock"], ["generate"], ["generate", "github"]:
        command = [sys.executable, "-m", "envmatrix", *words]
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root)


def _install(tools: Path) -> None:
    """Put this checkout, compiled as pip does, where the workflow looks for an installed
    envmatrix."""
    home = tools / "envmatrix" / __version__
    shutil.copytree(ROOT / "generator", home / "generator")
    compileall.compile_dir(home / "generator", quiet=1)
    (home / "bin").mkdir()
    program = home / "bin/envmatrix"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={home}/generator exec {sys.executable} -m envmatrix "$@"\n'
    )
    program.chmod(0o755)
    (home / "ready").touch()


def _configuration(directory: Path) -> str:
    """Return a configuration whose records of jobs are of this run alone."""
    file = directory / "configuration/envmatrix/config.toml"
    file.parent.mkdir(parents=True)
    places = {name: json.dumps(str(directory / name)) for name in ("records", "outputs")}
    (directory / "outputs").mkdir()
    lines = (f"{name} = {place}\n" for name, place in places.items())
    file.write_text(f"[jobs]\n{''.join(lines)}")
    return str(directory / "configuration")


if __name__ == "__main__":
    main()
