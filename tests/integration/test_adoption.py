"""A repository that has nothing of envmatrix yet: from `init` to its tests, and by hand in it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.conftest import ROOT, Checkout

from envmatrix.matrix.loading import load_matrix

CELL = "cuda13.5-debian12-x86_64"
FILES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(tiny LANGUAGES CXX CUDA)
option(TINY_BUILD_TESTS "Build the tests." OFF)
add_library(tiny SHARED tiny.cu)
if(TINY_BUILD_TESTS)
  enable_testing()
  add_executable(check check.cpp)
  target_link_libraries(check tiny)
  add_test(NAME check COMMAND check)
endif()
""",
    "tiny.cu": "__global__ void nothing() {}\nint answer() { return 42; }\n",
    "check.cpp": "int answer();\nint main() { return answer() != 42; }\n",
}

WORKFLOW = """\
jobs:
  test:
    runs-on: ${{ matrix.os }}
    container: debian:bookworm
    strategy:
      matrix:
        os: [ubuntu-24.04, windows-2022]
        cuda: [13.5]
        std: [17, 20]
        cuda_arch: ["90"]
"""


@pytest.fixture(scope="module")
def adopted(base: str, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A repository after `init`, whose packages are locked as those of this repository."""
    root = tmp_path_factory.mktemp("adoption") / "tiny lib"
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text)
    checkout = Checkout(root)
    checkout.run("init", "--yes", "--cuda", "13.5", "--os", "debian12", "--sm", "90")
    shutil.copy(ROOT / "matrix.lock.json", root)
    checkout.run("lock")
    checkout.run("generate")
    return checkout


def test_a_repository_without_a_matrix_is_tested_after_init(adopted: Checkout) -> None:
    assert [library.name for library in load_matrix(adopted.root).libraries] == ["tiny"]
    assert "next     envmatrix test" in adopted.run().stdout
    tested = adopted.run("test", "--json")
    assert '"state": "failed"' not in tested.stdout
    state = adopted.run().stdout
    assert "results  1 passed" in state


def test_a_repository_with_another_ci_matrix_is_tested_after_import(
    adopted: Checkout, tmp_path: Path
) -> None:
    root = tmp_path / "tiny lib"
    root.mkdir()
    for name, text in {**FILES, "ci.yml": WORKFLOW}.items():
        (root / name).write_text(text)
    checkout = Checkout(root)
    rest = checkout.run("import", "ci.yml").stdout
    assert "`os: windows-2022`: there are no containers of Windows and macOS [2 jobs]" in rest
    shutil.copy(ROOT / "matrix.lock.json", root)
    checkout.run("lock")
    checkout.run("generate")
    tested = checkout.run("test", "--json")
    assert '"state": "failed"' not in tested.stdout
    assert "results  2 passed" in checkout.run().stdout
    assert {path.name for path in (root / "build" / CELL).iterdir()} >= {"tiny", "tiny@cxx20"}


def test_a_command_reads_the_input_and_its_code_is_that_of_exec(adopted: Checkout) -> None:
    words = ("exec", CELL, "--", "sh", "-c", "cat; nvcc --version >&2; exit 3")
    done = subprocess.run(
        [sys.executable, "-m", "envmatrix", *words],
        cwd=adopted.root,
        input="from here",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "from here")
    assert "release 13.5" in done.stderr


def test_the_image_of_the_tests_has_no_compiler(adopted: Checkout) -> None:
    adopted.run("exec", CELL, "--runtime", "--", "sh", "-c", "! command -v nvcc")


def test_a_command_that_the_image_lacks_is_told(adopted: Checkout) -> None:
    done = adopted.run("exec", CELL, "--", "nosuch", expect=127)
    assert "is there a program `nosuch` in the image?" in done.stderr


def test_a_shell_tells_how_to_build_and_remembers_what_was_entered(adopted: Checkout) -> None:
    text = at_terminal(adopted.root, "echo $((6 * 7))", "exit 5")
    assert "cmake --build /build" in text
    assert f"{CELL} tiny" in text
    assert "\r42\r\n" in text
    history = adopted.root / f"build/{CELL}/tiny/shell/bash_history"
    assert "echo $((6 * 7))" in history.read_text()


def at_terminal(root: Path, *lines: str) -> str:
    """Return what a shell prints at a terminal where lines are entered."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "envmatrix", "shell", CELL]
    with subprocess.Popen(command, cwd=root, stdin=child, stdout=child, stderr=child) as shell:
        os.close(child)
        text, waiting, end = "", [*lines], time.monotonic() + 120
        while time.monotonic() < end and select.select([parent], [], [], 60)[0]:
            try:
                text += os.read(parent, 4096).decode("utf-8", "replace")
            except OSError:
                break
            if waiting and text.endswith(("$ ", "# ")):
                os.write(parent, f"{waiting.pop(0)}\n".encode())
        os.close(parent)
        assert shell.wait(60) == 5
    return text
