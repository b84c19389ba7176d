"""`envmatrix plan --diff`, with a git repository of its own and no container engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.fakes import Archive, lock_of, write_repository
from tests.repositories import commit, committed
from tests.unit.prompt import Prompt

from envmatrix.lock.lock_file import dumps
from envmatrix.matrix.loading import load_matrix

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")

AXES = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64]'
CELL, NEWER = "cuda13.0-debian12-x86_64", "cuda13.5-debian12-x86_64"
OVERLAY = 'version: "1"\nreason: try it\naxes: {cuda: {add: ["13.5"]}}\n'


def lock(root: Path, archive: Archive | None = None) -> None:
    scratch = root.parent / f"scratch-{len(list(root.parent.iterdir()))}"
    scratch.mkdir()
    text = dumps(lock_of(load_matrix(root), scratch, archive=archive))
    (root / "matrix.lock.json").write_text(text)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A locked repository that is committed, in a directory below the top of its git repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    top = tmp_path / "top"
    root = write_repository(top / "matrices/one", AXES)
    lock(root)
    committed(top)
    monkeypatch.chdir(root)
    return root


@pytest.mark.usefixtures("repository")
def test_nothing_changed_is_said(envmatrix: Prompt) -> None:
    answer = envmatrix("plan", "--diff", "HEAD")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "no cell comes, goes or changes since `HEAD`\n"
    assert envmatrix("plan", "--diff", "HEAD", "--json").out == "[]\n"


def test_an_overlay_that_is_not_committed_brings_a_cell(
    envmatrix: Prompt, repository: Path
) -> None:
    (repository / "matrix.d").mkdir()
    (repository / "matrix.d/a.yaml").write_text(OVERLAY)
    answer = envmatrix("plan", "--diff", "HEAD")
    assert answer.status == 0
    assert answer.out == (f"comes    {NEWER}: added to axis `cuda` by matrix.d/a.yaml: try it\n")
    assert (
        answer.err == "`matrix.lock.json` is out of date with `matrix.yaml`; see `envmatrix lock`\n"
    )


def test_an_overlay_of_the_revision_is_read_too(envmatrix: Prompt, repository: Path) -> None:
    (repository / "matrix.d").mkdir()
    (repository / "matrix.d/a.yaml").write_text(OVERLAY)
    commit(repository)
    (repository / "matrix.d/a.yaml").unlink()
    answer = envmatrix("plan", "--diff", "HEAD", "--json")
    assert json.loads(answer.out) == [
        {"cell": NEWER, "change": "goes", "reasons": ["removed from axis `cuda`"]}
    ]


def test_a_long_list_is_cut_for_people_and_not_for_programs(
    envmatrix: Prompt, repository: Path
) -> None:
    names = ("base-files", "cmake", "dash", "g++-12", "libuv1", "ninja-build", "unzip")
    lock(repository, Archive(versions=dict.fromkeys(names, "2.0-1")))
    answer = envmatrix("plan", "--diff", "HEAD")
    assert answer.out == (
        f"changes  {CELL}: `base-files` 1.0-1 -> 2.0-1; `cmake` 1.0-1 -> 2.0-1; "
        "`dash` 1.0-1 -> 2.0-1; `g++-12` 1.0-1 -> 2.0-1; `libuv1` 1.0-1 -> 2.0-1; and 2 more\n"
    )
    (row,) = json.loads(envmatrix("plan", "--diff", "HEAD", "--json").out)
    assert len(row["reasons"]) == len(names)


def test_a_selection_finds_cells_of_either_side(envmatrix: Prompt, repository: Path) -> None:
    text = (repository / "matrix.yaml").read_text()
    (repository / "matrix.yaml").write_text(text.replace("13.0", "13.5"))
    lock(repository)
    for pattern, verbs in (
        ("cuda13.0*", ["goes"]),
        ("cuda13.5*", ["comes"]),
        ("cuda13-x86_64", ["comes", "goes"]),
        ("cuda13.0*,cuda13.5*", ["comes", "goes"]),
    ):
        answer = envmatrix("plan", "--diff", "HEAD", "--json", "--select", pattern)
        assert [row["change"] for row in json.loads(answer.out)] == verbs
    assert envmatrix("plan", "--diff", "HEAD", "--select", "cuda12*").status == 3


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("revision", ["nothing", "HEAD:./matrix.yaml", "", "--all"])
def test_a_revision_that_there_is_not_is_told(envmatrix: Prompt, revision: str) -> None:
    answer = envmatrix("plan", f"--diff={revision}")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(f"error: revision `{revision}` cannot be read: ")
    assert answer.err.endswith("hint: name a commit, a branch or a tag of this repository\n")


def test_a_place_that_is_no_git_repository_is_told(
    envmatrix: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    root = write_repository(tmp_path / "repository", AXES)
    lock(root)
    monkeypatch.chdir(root)
    answer = envmatrix("plan", "--diff", "HEAD")
    assert (answer.status, answer.out) == (2, "")
    assert "error: revision `HEAD` cannot be read: fatal: not a git repository" in answer.err


@pytest.mark.usefixtures("repository")
def test_git_that_is_missing_is_told(envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    answer = envmatrix("plan", "--diff", "HEAD")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("error: `git` is missing\n")


@pytest.mark.parametrize(
    ("file", "text", "status", "problem"),
    [
        ("matrix.yaml", None, 2, "at `HEAD`, `matrix.yaml` does not exist"),
        ("matrix.lock.json", None, 4, "at `HEAD`, there is no `matrix.lock.json`"),
        ("matrix.lock.json", "{", 2, "HEAD:matrix.lock.json:1:2: not JSON: "),
        ("matrix.yaml", "a: b: c", 2, "HEAD:matrix.yaml:1:5: mapping values are not allowed"),
        ("envs/devel.yaml", "flavour: x\n", 2, "HEAD:envs/devel.yaml:1:10: flavour `x` is"),
    ],
)
def test_a_revision_that_cannot_be_compared_is_named(
    envmatrix: Prompt, repository: Path, file: str, text: str | None, status: int, problem: str
) -> None:
    path = repository / file
    now = path.read_text()
    path.unlink() if text is None else path.write_text(text)
    commit(repository)
    path.write_text(now)
    answer = envmatrix("plan", "--diff", "HEAD")
    assert (answer.status, answer.out) == (status, "")
    assert f"error: {problem}" in answer.err
    assert "hint" not in answer.err
