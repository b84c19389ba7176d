"""Tests with a real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.repositories import commit, committed, git

from envmatrix.errors import ConfigurationError
from envmatrix.results.location import Location
from envmatrix.vcs.own_directories import require_own


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    return committed(tmp_path / "root", {"lib/a.c": "", "build/own": ""})


def link(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(root.parent / "elsewhere")


@pytest.mark.parametrize("name", ["out", "out/cell", "out/cell/library/devel", "out/cell/.lock"])
def test_a_link_that_git_tracks_is_refused_where_something_is_written(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(root, name)
    require_own(root, [root / "out/cell"])
    git(root, "add", "--force", ".")
    with pytest.raises(ConfigurationError, match=f"`{name}` is a link that git tracks") as caught:
        require_own(root, [root / "out/cell"])
    assert f"`git rm --cached -- {name}`" in str(caught.value.problems[0].hint)
    monkeypatch.chdir(root / "lib")
    with pytest.raises(ConfigurationError):
        require_own(root, [Path("../out/cell")])
    (root / name).unlink()
    require_own(root, [root / "out/cell"])


@pytest.mark.parametrize("name", ["lib/link", "out/other", "out/cellar", "oute"])
def test_a_link_beside_is_none_of_our_business(root: Path, name: str) -> None:
    link(root, name)
    commit(root)
    require_own(root, [root / "out/cell", root.parent / "elsewhere", root])


def test_without_git_links_are_those_of_a_user(tmp_path: Path) -> None:
    link(tmp_path, "build")
    require_own(tmp_path, [tmp_path / "build/cell"])


def test_results_are_not_written_where_a_commit_leads_them(root: Path) -> None:
    link(root, ".envmatrix")
    Location.of(root).prepare()
    git(root, "add", "--force", ".")
    with pytest.raises(ConfigurationError, match=r"`\.envmatrix` is a link that git tracks"):
        Location.of(root).prepare()
