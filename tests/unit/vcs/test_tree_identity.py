"""Tests with a real git."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envmatrix.vcs.tree_identity import tree_identity


def git(directory: Path, *arguments: str) -> None:
    options = (
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "-c",
        "protocol.file.allow=always",
    )
    subprocess.run(["git", *options, *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a library in a repository: one file committed, another ignored."""
    library = tmp_path / "repository" / "library"
    library.mkdir(parents=True)
    (library / "main.cu").write_text("one\n")
    (library / ".gitignore").write_text("*.o\n")
    (library.parent / "other.txt").write_text("outside\n")
    git(library.parent, "init", "--quiet")
    git(library.parent, "add", ".")
    git(library.parent, "commit", "--quiet", "-m", "first")
    return library


def edit(tree: Path) -> None:
    (tree / "main.cu").write_text("two\n")


def add(tree: Path) -> None:
    (tree / "new.cu").write_text("one\n")


def delete(tree: Path) -> None:
    (tree / "main.cu").unlink()


def rename(tree: Path) -> None:
    (tree / "main.cu").rename(tree / "other.cu")


def make_executable(tree: Path) -> None:
    (tree / "main.cu").chmod(0o755)


def replace_by_link(tree: Path) -> None:
    (tree / "main.cu").unlink()
    (tree / "main.cu").symlink_to("elsewhere")


def add_strange_name(tree: Path) -> None:
    (tree / "a\n\tb\udcff ü").write_text("one\n")


def hide_edit(tree: Path) -> None:
    git(tree, "update-index", "--assume-unchanged", "main.cu")
    edit(tree)


CHANGES = (edit, add, delete, rename, make_executable, replace_by_link, add_strange_name, hide_edit)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_another_identity_and_committing_it_is_not(
    tree: Path, change: Callable[[Path], None]
) -> None:
    before = tree_identity(tree)
    change(tree)
    changed = tree_identity(tree)
    assert changed != before
    git(tree, "add", "--all", ".")
    assert tree_identity(tree) == changed
    git(tree, "commit", "--quiet", "--allow-empty", "-m", "change")
    assert tree_identity(tree) == changed


def test_each_change_has_an_identity_of_its_own(tmp_path: Path) -> None:
    identities = set()
    for number, change in enumerate(CHANGES):
        tree = tmp_path / str(number)
        tree.mkdir()
        (tree / "main.cu").write_text("one\n")
        change(tree) if change is not hide_edit else add(tree)
        identities.add(tree_identity(tree))
    assert len(identities) == len(CHANGES) - 1


def test_ignored_files_and_those_outside_do_not_count(tree: Path) -> None:
    before = tree_identity(tree)
    (tree / "main.o").write_text("object")
    (tree.parent / "other.txt").write_text("changed\n")
    (tree / "main.cu").touch()
    assert tree_identity(tree) == before


def test_a_change_within_a_submodule_counts(tree: Path, tmp_path: Path) -> None:
    git(tree, "submodule", "add", "--quiet", str(tree.parent), "inner")
    git(tree, "commit", "--quiet", "-m", "submodule")
    before = tree_identity(tree)
    edit(tree / "inner" / "library")
    assert tree_identity(tree) != before


@pytest.mark.parametrize("is_committed", [False, True])
def test_the_directory_of_builds_and_results_do_not_count(tree: Path, is_committed: bool) -> None:
    builds = tree / "build [1]*"
    before = tree_identity(tree, builds)
    for name in ("build [1]*/cell/main.txt", ".envmatrix/results", "inner/.envmatrix/results"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text("one\n")
    if is_committed:
        git(tree, "add", "--all", ".")
    assert tree_identity(tree, builds) == before
    assert tree_identity(tree, tree.parent / "build") != before
    shutil.rmtree(tree.parent / ".git")
    without_git = tree_identity(tree, builds)
    (builds / "more.txt").write_text("two\n")
    assert tree_identity(tree, builds) == without_git


def test_without_git_all_files_count(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.o\n")
    before = tree_identity(tmp_path)
    (tmp_path / "main.o").write_text("object")
    assert tree_identity(tmp_path) != before


# Root reads everything, unless it gives up its capabilities.
ORDINARY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
PROGRAM = """\
import sys
from pathlib import Path
from envmatrix.errors import ConfigurationError
from envmatrix.vcs.tree_identity import tree_identity
try:
    tree_identity(Path(sys.argv[1]))
except ConfigurationError as error:
    print(error.problems[0].message)
"""


@pytest.mark.parametrize("has_git", [True, False])
@pytest.mark.parametrize("is_committed", [True, False])
def test_a_directory_that_cannot_be_read_is_refused(
    tree: Path, *, is_committed: bool, has_git: bool
) -> None:
    (directory := tree / "parts").mkdir()
    (directory / "part.cu").write_text("two\n")
    if is_committed:
        git(tree, "add", ".")
    if not has_git:
        shutil.rmtree(tree.parent / ".git")
    directory.chmod(0)
    try:
        command = [*ORDINARY, sys.executable, "-c", PROGRAM, str(tree)]
        message = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finally:
        directory.chmod(0o755)
    assert re.search("cannot read `.*parts|parts` cannot be read", message)


def test_a_directory_that_git_ignores_may_be_unreadable(tree: Path) -> None:
    (tree / ".gitignore").write_text("data/\n")
    (directory := tree / "data").mkdir(mode=0)
    try:
        command = [*ORDINARY, sys.executable, "-c", PROGRAM, str(tree)]
        message = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finally:
        directory.chmod(0o755)
    assert message == ""
