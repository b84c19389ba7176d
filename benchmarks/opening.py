"""How much later than the image's own shell does a container for people open?

`docker run` of an image with the tools for people, `envmatrix exec --dev` in it, and a development
container of the same image, which the reference implementation creates, all with nothing left to
build. Target: at most 5 s more than `docker run`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing
from tests.integration.test_consumers import CLI
from tests.integration.test_dev_containers import CELL, CONFIG, MATRIX
from tests.tools import node_packages

LIBRARY = "vectorops"


def main() -> None:
    options = timing.arguments(__doc__, rounds=5).parse_args()
    timing.announce("Opening a container")
    with TemporaryDirectory(prefix="envmatrix-opening-") as scratch:
        directory = Path(scratch)
        root = _repository(directory)
        environment = {"PATH": f"{_programs(directory)}:{os.environ['PATH']}"}
        program = [*timing.ENVMATRIX, "exec", CELL, "--dev", "--", "true"]
        timing.run(program, root)
        sides: dict[str, timing.Side] = {
            "docker run": lambda: timing.run(["docker", "run", "--rm", _image(root), "true"]),
            "envmatrix exec --dev": lambda: timing.run(program, root),
            "dev container": lambda: _open_container(root, environment),
        }
        rounds = timing.interleaved(sides, options.rounds)
    by_hand = timing.wall(rounds["docker run"])
    rows = [
        [name, timing.seconds(timing.wall(usages)), timing.seconds(timing.wall(usages) - by_hand)]
        for name, usages in rounds.items()
    ]
    print(timing.table(["side", "wall", "more than docker run"], rows))


def _repository(directory: Path) -> Path:
    """Return a repository with a development container, whose image is built."""
    root = directory / "repository"
    shutil.copytree(timing.ROOT / f"examples/{LIBRARY}", root / f"examples/{LIBRARY}")
    (root / "matrix.yaml").write_text(MATRIX)
    for words in (["lock"], ["generate"], ["generate", "devcontainer", "--local"]):
        timing.run([*timing.ENVMATRIX, *words], root)
    return root


def _programs(directory: Path) -> Path:
    """Return a directory with `envmatrix`, which the container starts on this machine."""
    program = directory / "bin/envmatrix"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m envmatrix "$@"\n')
    program.chmod(0o755)
    return program.parent


def _image(root: Path) -> str:
    file = root / f"build/{CELL}/{LIBRARY}/devcontainer/Dockerfile"
    return file.read_text().removeprefix("FROM ").strip()


def _open_container(root: Path, environment: dict[str, str]) -> timing.Usage:
    """Create the container; remove it, which is not measured."""
    config = root / CONFIG
    program = node_packages(CLI) / "node_modules/.bin/devcontainer"
    command = [str(program), "up", f"--workspace-folder={root}", f"--config={config}"]
    usage = timing.run(command, root, environment)
    label = f"label=devcontainer.config_file={config}"
    containers = ["docker", "ps", "--quiet", "--all", f"--filter={label}"]
    names = subprocess.run(containers, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["docker", "rm", "--force", *names], check=True, capture_output=True)
    return usage


if __name__ == "__main__":
    main()
