"""The tutorial: its commands run as they are written, in an empty directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import ROOT, Checkout
from tests.outputs import machine_of
from website.tutorial import blocks


@pytest.fixture(scope="module")
def finished(
    engine: docker.DockerClient, base: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of the tutorial after all commands; packages are locked as in this repository,
    so that images are shared with other tests."""
    scratch = tmp_path_factory.mktemp("tutorial")
    programs = scratch / "bin"
    programs.mkdir()
    (programs / "envmatrix").write_text(f'#!/bin/sh\nexec {sys.executable} -m envmatrix "$@"\n')
    (programs / "envmatrix").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    directory = scratch
    for number, commands in enumerate(blocks((ROOT / "docs/tutorial.md").read_text("utf-8"))):
        done = subprocess.run(
            ["bash", "-euxc", commands],
            cwd=directory,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"block {number + 1}\n{done.stdout}\n{done.stderr}"
        if number == 0:
            directory = scratch / "twice"
            shutil.copy(ROOT / "matrix.lock.json", directory)
            with (directory / "twice.cu").open(
                "a"
            ) as source:  # so that no earlier result is reused
                source.write(f"// {time.time_ns()}\n")
    return directory


def test_its_library_passes_its_tests_for_both_architectures(finished: Path) -> None:
    assert "results  2 passed" in Checkout(finished).run().stdout


def test_its_library_is_compiled_for_the_architecture_of_each_cell(finished: Path) -> None:
    machines = {
        file.parts[-4]: machine_of(file) for file in finished.glob("build/*/twice/*/libtwice.so")
    }
    assert len(machines) == 2
    assert all(cell.endswith(f"-{machine}") for cell, machine in machines.items())
