"""The files for Jenkins: small, the same for every matrix, and without values in scripts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.repositories import committed

from envmatrix.app.generated_files import ConsumerRequest
from envmatrix.render.jenkins import FILES, files

BANNER = ConsumerRequest("jenkins").banner
TEXTS = files(BANNER, "1.2.3", is_own=False)
AGENT = "jenkins/vars/envmatrixAgent.groovy"


@pytest.mark.parametrize("path", FILES)
def test_files_are_small_and_say_where_they_come_from(path: str) -> None:
    assert TEXTS[path].splitlines()[0].endswith(BANNER)
    assert TEXTS[path].count("\n") <= 150
    assert len(TEXTS[path].encode()) <= 16 << 10


@pytest.mark.parametrize("path", [path for path in FILES if not path.endswith(".yaml")])
def test_strings_of_groovy_have_no_values(path: str) -> None:
    without_strings = re.sub(r"'''.*?'''|'(\\.|[^'\\])*'", "", TEXTS[path], flags=re.DOTALL)
    assert '"' not in without_strings


def test_jobs_install_the_version_that_wrote_the_files() -> None:
    assert " envmatrix==1.2.3\n" in TEXTS[AGENT]
    assert " -c constraints.txt -e .\n" in files(BANNER, "1.2.3", is_own=True)[AGENT]


@pytest.mark.parametrize("has_git", [True, False])
def test_a_job_removes_what_earlier_ones_built_and_follows_no_link(
    tmp_path: Path, *, has_git: bool
) -> None:
    (line,) = re.findall(r"^ *(.*rm -rf build)$", TEXTS[AGENT], re.MULTILINE)
    root, other = tmp_path / "root", tmp_path / "other"
    for directory in (root / "build/ci/jobs", other / "ci"):
        directory.mkdir(parents=True)
        (directory / "file").touch()
    if has_git:
        committed(root, {".gitignore": "/build\n"})
    for _ in range(2):
        subprocess.run(["sh", "-euc", line], cwd=root, check=True)
        assert not (root / "build").is_symlink()
        assert not (root / "build").exists()
        (root / "build").symlink_to(other)
    assert (other / "ci/file").exists()


def test_the_job_is_a_template() -> None:
    (row,) = yaml.safe_load(TEXTS["jenkins/jobs.yaml"])
    assert row["job-template"]["project-type"] == "multibranch"
