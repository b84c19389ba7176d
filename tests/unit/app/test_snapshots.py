"""Snapshots of the repository at other revisions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.fakes import write_repository
from tests.repositories import commit, committed, git, head

from envmatrix.app.snapshots import snapshot_at
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError

AXES = 'os: [debian12]\narch: [x86_64]\ncuda: ["13.0"]'
LIBRARY = "libraries: {lib: {path: lib, build: {system: make}}}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A repository below the top of that of git, with two commits and a change."""
    root = write_repository(tmp_path / "top/root", AXES, LIBRARY)
    committed(tmp_path / "top", {"root/lib/a.c": "int a;\n", "other/b.c": "int b;\n"})
    (root / "lib/a.c").write_text("long a;\n")
    (root / "lib/link").symlink_to("../../other/b.c")
    commit(root)
    (root / "lib/a.c").write_text("short a;\n")
    return Workspace(root)


def test_a_snapshot_has_the_files_of_its_revision(workspace: Workspace) -> None:
    snapshot = snapshot_at(workspace, "HEAD~1", Console(-1))
    assert (snapshot.root / "lib/a.c").read_text() == "int a;\n"
    assert not os.path.lexists(snapshot.root / "lib/link")
    now = snapshot_at(workspace, "HEAD", Console(-1))
    assert (now.root / "lib/a.c").read_text() == "long a;\n"
    assert (now.root / "lib/link").read_text() == "int b;\n"
    assert (workspace.root / "lib/a.c").read_text() == "short a;\n"


def test_a_snapshot_is_made_once_and_hides_from_git(workspace: Workspace) -> None:
    first = snapshot_at(workspace, "HEAD", Console(-1))
    (first.root / "built").write_text("")
    second = snapshot_at(workspace, head(workspace.root), Console(-1))
    assert (second.root / "built").exists()
    assert git(workspace.root, "status", "--porcelain") == "M root/lib/a.c"


def test_a_snapshot_has_the_trust_group_of_its_repository_and_results_of_its_own(
    workspace: Workspace,
) -> None:
    snapshot = snapshot_at(workspace, "HEAD", Console(-1))
    assert snapshot.trust == workspace.trust
    assert snapshot.location.url is None
    assert snapshot.location.directory != workspace.location.directory
    assert [library.name for library in snapshot.matrix.libraries] == ["lib"]


@pytest.mark.parametrize("revision", ["nowhere", "", "--all", "^HEAD"])
def test_a_revision_that_does_not_exist_is_an_error(workspace: Workspace, revision: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        snapshot_at(workspace, revision, Console(-1))


def test_a_revision_without_the_directory_of_the_matrix_is_an_error(workspace: Workspace) -> None:
    tree = git(workspace.root, "rev-parse", "HEAD:other")
    alone = git(workspace.root, "commit-tree", "-m", "alone", tree)
    with pytest.raises(ConfigurationError, match="does not have this directory"):
        snapshot_at(workspace, alone, Console(-1))
