"""Which sessions there are and what they run, with a stand-in for `envmatrix` that notes how it is
called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envmatrix.errors import INTERRUPTED, SKIPPED
from envmatrix.sessions import nox_program, registration

ROOT = Path(__file__).parents[2]
NOXFILE = ROOT / "noxfile.py"

# Imported by each interpreter that has its directory on its path.
STAND_IN = """\
import logging
import sys
from pathlib import Path
import envmatrix.cli

def main():
    logging.getLogger("library").debug("a detail of a library")
    calls = Path(__file__).with_name("calls")
    with calls.open("a") as file:
        print(*sys.argv[1:], file=file)
    sys.exit({status})

envmatrix.cli.main = main
"""


def run(
    directory: Path, noxfile: Path, *arguments: str, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run nox with these arguments, and a stand-in in `directory` that ends with a status."""
    (directory / "sitecustomize.py").write_text(STAND_IN.format(status=status))
    environment = {**os.environ, "PYTHONPATH": str(directory), "ENVMATRIX_CACHE": str(directory)}
    command = [sys.executable, "-m", "nox", "-f", str(noxfile), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def calls(directory: Path, noxfile: Path, *arguments: str) -> list[str]:
    """Return the calls of the stand-in by the sessions that are named."""
    done = run(directory, noxfile, "-s", *arguments)
    assert done.returncode == 0, done.stderr
    return (directory / "calls").read_text().splitlines()


def sessions(directory: Path, noxfile: Path, *arguments: str) -> set[str]:
    """Return the sessions that nox lists."""
    listed = run(directory, noxfile, "-l", *arguments).stdout
    return {*re.findall(r"(?m)^[*-] (\S+)", listed)}


@pytest.fixture
def noxfile(tmp_path: Path) -> Path:
    """A noxfile of three lines, in a repository with the matrix of this one."""
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("matrix.yaml", "envs"):
        (repository / name).symlink_to(ROOT / name)
    file = repository / "noxfile.py"
    file.write_text(str(registration.__doc__).partition("\n\n")[2])
    return file


@pytest.mark.parametrize(
    ("session", "call"),
    [
        ("matrix", "test"),
        ("matrix-pr", "test --tier pr"),
        ("matrix-perf", "perf"),
        ("matrix-step", "step"),
        ("pull", "pull"),
    ],
)
def test_sessions_of_many_cells_pass_their_arguments_on(
    tmp_path: Path, session: str, call: str
) -> None:
    assert calls(tmp_path, NOXFILE, session, "--", "--select", "a*") == [f"{call} --select a*"]


def test_a_noxfile_of_three_lines_is_enough_and_its_sessions_have_no_environment_of_their_own(
    tmp_path: Path, noxfile: Path
) -> None:
    assert calls(tmp_path, noxfile, "build-cuda12-aarch64") == [
        "run compile cuda12.4-debian12-aarch64"
    ]
    assert not (noxfile.parent / ".nox").exists()


def test_only_sessions_that_are_asked_for_are_registered(tmp_path: Path, noxfile: Path) -> None:
    every = sessions(tmp_path, noxfile)
    assert {"matrix", "pull", "build-cuda12-aarch64"} <= every
    assert len(every) > 100
    some = {"build-cuda12-aarch64", *registration.MANY}
    assert sessions(tmp_path, noxfile, "-s", "build-cuda12-aarch64") == some
    assert sessions(tmp_path, noxfile, "-k", "build and aarch64") == every


def test_nox_says_which_session_it_does_not_find(tmp_path: Path, noxfile: Path) -> None:
    done = run(tmp_path, noxfile, "-s", "nothing")
    assert "Sessions not found: nothing" in done.stderr


def test_a_session_is_notified_if_it_is_always_registered(tmp_path: Path, noxfile: Path) -> None:
    text = noxfile.read_text()
    own = """
import nox

@nox.session(venv_backend="none")
def both(session):
    session.notify("build-cuda12-aarch64")
"""
    always = ', {"build-cuda12-aarch64"})'
    noxfile.write_text(text.rstrip().removesuffix(")") + always + own)
    assert calls(tmp_path, noxfile, "both") == ["run compile cuda12.4-debian12-aarch64"]


@pytest.mark.parametrize(
    ("session", "status", "word"),
    [
        ("build-cuda12-aarch64", 1, "failed"),
        ("build-cuda12-aarch64", SKIPPED, "failed"),
        ("test-cuda12-aarch64", SKIPPED, "skipped"),
        ("test-cuda12-aarch64", INTERRUPTED, "interrupted"),
    ],
)
def test_a_session_ends_as_the_program_does(
    tmp_path: Path, noxfile: Path, session: str, status: int, word: str
) -> None:
    done = run(tmp_path, noxfile, "-s", session, status=status)
    assert (done.returncode == 0) == (word == "skipped")
    assert word in done.stderr.lower()
    assert "a detail of a library" not in done.stderr


def test_sessions_run_one_after_the_other_in_one_process(tmp_path: Path, noxfile: Path) -> None:
    assert calls(tmp_path, noxfile, "matrix", "pull", "--", "--quiet") == [
        "test --quiet",
        "pull --quiet",
    ]


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["-s", "tests"], {}, True),
        (["-s", "tests", "--", "-l"], {}, True),
        (["-l"], {}, False),
        (["-s", "tests", "--help"], {}, False),
        (["-s", "tests"], {"ENVMATRIX_NO_ENGINE": "1"}, False),
    ],
)
def test_questions_need_no_engine(
    arguments: list[str], environment: dict[str, str], *, expected: bool
) -> None:
    assert nox_program.needs_engine(arguments, environment) == expected


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


# A Python that is as one, and makes environments of copies of itself.
PYTHON = """\
#!/bin/sh
case "$*" in
  *version_info*) echo "3.11.0 $0" ;;
  "-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  *nox_program*) exit 9 ;;
esac
"""


def test_the_script_prints_where_its_programs_are(tmp_path: Path) -> None:
    programs, cache = tmp_path / "programs", tmp_path / "cache"
    programs.mkdir()
    (programs / "python3").write_text(PYTHON)
    (programs / "python3").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "ENVMATRIX_CACHE": str(cache),
    }
    command = [str(ROOT / "noxw"), "--path"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (directory,) = cache.glob("venv-*/bin")
    assert done.stdout == f"{directory}\n"
