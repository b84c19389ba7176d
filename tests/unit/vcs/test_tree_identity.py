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

from envmatrix.vcs import tree_identity as tree_identity_module
from envmatrix.vcs.git import list_tree
from envmatrix.vcs.tree_identity import tree_identities, tree_identity


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
    (tree / "a\r\n\tb\r\udcff ü").write_text("one\n")


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


def without_submodules(tree: Path, name: str) -> Path:
    """Return a clone whose submodules are not checked out, of a repository with some."""
    for place in ("inner", "../beside"):
        git(tree, "submodule", "add", "--quiet", str(tree.parent), place)
    git(tree, "commit", "--quiet", "-m", "submodules")
    clone = tree.parent.parent / name
    git(tree.parent, "clone", "--quiet", ".", str(clone))
    return clone


def test_a_submodule_is_known_by_its_commit_whether_or_not_it_is_checked_out(tree: Path) -> None:
    clone = without_submodules(tree, "clone")
    places = [clone, clone / "library", clone / "library/inner"]
    before = tree_identities(places)
    assert {each: tree_identity(each) for each in places} == before
    (clone / "library/inner").rmdir()
    assert tree_identity(clone) == before[clone]
    git(clone, "submodule", "update", "--init")
    assert tree_identities(places[:2]) == {place: before[place] for place in places[:2]}


def test_every_change_of_a_submodule_counts(tree: Path) -> None:
    clone = without_submodules(tree, "clone")
    identities = {tree_identity(clone)}
    (clone / "library/inner/new.cu").write_text("one\n")
    identities.add(tree_identity(clone))
    shutil.rmtree(clone / "library/inner")
    git(clone, "submodule", "update", "--init")
    inner = clone / "library/inner/library"
    add(inner)
    identities.add(tree_identity(clone))
    git(inner, "add", "--all", ".")
    git(inner, "commit", "--quiet", "-m", "change")
    identities.add(tree_identity(clone))
    hide_edit(inner)
    identities.add(tree_identity(clone))
    assert len(identities) == 5


def test_a_submodule_without_its_repository_counts_by_its_files(tree: Path) -> None:
    clone = without_submodules(tree, "clone")
    git(clone, "submodule", "update", "--init")
    shutil.rmtree(clone / ".git/modules")
    before = tree_identity(clone)
    edit(clone / "library/inner/library")
    assert tree_identity(clone) != before


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


@pytest.fixture
def directories(tree: Path) -> list[Path]:
    """Return directories of a repository, with one in which another repository is, one in a
    submodule, an ignored one, one in a directory of results, and one that is in no repository."""
    root = tree.parent
    names = ("part", "part 2", "nested", "ignored", ".envmatrix/part")
    others = [*(root / name for name in names), root.parent / "outside"]
    for number, directory in enumerate(others):
        directory.mkdir(parents=True)
        (directory / "main.cu").write_text(f"{number}\n")
    git(root / "nested", "init", "--quiet")
    (root / ".gitignore").write_text("ignored\n")
    git(root, "submodule", "add", "--quiet", str(root), "inner")
    git(root, "add", "part", "inner")
    (root / "inner/library/new.cu").write_text("one\n")
    return [root, tree, *others, root / "inner", root / "inner/library"]


@pytest.mark.parametrize("place", ["build", "library/build", "part/build"])
def test_several_directories_have_the_identities_that_each_has(
    tree: Path, directories: list[Path], place: str
) -> None:
    builds = tree.parent / place
    builds.mkdir()
    (builds / "main.txt").write_text("one\n")
    assert tree_identities(directories, builds) == {
        directory: tree_identity(directory, builds) for directory in directories
    }


def test_git_is_started_as_often_for_several_directories_as_for_one(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []

    def listed(root: Path, *arguments: str) -> list[str]:
        started.append(arguments)
        return list_tree(root, *arguments)

    monkeypatch.setattr(tree_identity_module, "list_tree", listed)
    tree_identity(tree)
    count = len(started)
    directories = [tree.parent / f"library{number}" for number in range(9)]
    for directory in directories:
        directory.mkdir()
        (directory / "main.cu").write_text("one\n")
    tree_identities([tree, *directories])
    assert len(started) == 2 * count


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
from envmatrix.vcs.tree_identity import tree_identities
try:
    tree_identities(map(Path, sys.argv[1:]))
except ConfigurationError as error:
    print(error.problems[0].message)
"""


def without_reading(directory: Path, *trees: Path) -> str:
    """Return the message about trees while nobody may read a directory."""
    directory.chmod(0)
    try:
        command = [*ORDINARY, sys.executable, "-c", PROGRAM, *map(str, trees)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finally:
        directory.chmod(0o755)


def parts_of(tree: Path) -> Path:
    """Return a directory of a tree with a file that git does not know."""
    (directory := tree / "parts").mkdir()
    (directory / "part.cu").write_text("two\n")
    return directory


@pytest.mark.parametrize("has_git", [True, False])
@pytest.mark.parametrize("is_committed", [True, False])
def test_a_directory_that_cannot_be_read_is_refused(
    tree: Path, *, is_committed: bool, has_git: bool
) -> None:
    directory = parts_of(tree)
    if is_committed:
        git(tree, "add", ".")
    if not has_git:
        shutil.rmtree(tree.parent / ".git")
    assert re.search("cannot read `.*parts|parts` cannot be read", without_reading(directory, tree))


def test_a_directory_that_git_ignores_may_be_unreadable(tree: Path) -> None:
    (tree / ".gitignore").write_text("data/\n")
    (directory := tree / "data").mkdir()
    assert without_reading(directory, tree) == ""


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_directory_beside_all_may_be_unreadable(tree: Path, *, is_committed: bool) -> None:
    beside, other = tree.parent / "beside", tree.parent / "other"
    for directory in (beside, other):
        directory.mkdir()
        (directory / "part.cu").write_text("two\n")
    if is_committed:
        git(tree.parent, "add", ".")
    assert without_reading(beside, tree, other) == ""
    assert re.search("cannot read `.*parts", without_reading(parts_of(other), tree, other))
