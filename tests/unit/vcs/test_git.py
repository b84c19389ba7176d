from __future__ import annotations

from pathlib import Path

import pytest
from tests.repositories import commit, committed, git, head

from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.vcs.git import (
    absent_around,
    absent_submodules,
    changed_files,
    commit_time,
    commits_between,
)


def test_submodules_that_are_not_checked_out_are_told_by_their_path(tmp_path: Path) -> None:
    modules = "".join(
        f'[submodule "{name}"]\n\tpath = {name}\n\turl = ../{name}\n'
        for name in ("lib/there", "lib/empty", "lib/gone", "elsewhere")
    )
    (tmp_path / ".gitmodules").write_text(modules)
    for name in ("lib/there", "lib/empty", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib/there/a.c").write_text("int a;\n")
    assert absent_submodules(tmp_path, tmp_path / "lib") == ("empty", "gone")
    assert absent_submodules(tmp_path, tmp_path / "lib/there") == ()


def test_submodules_of_submodules_and_of_the_whole_repository_are_told(tmp_path: Path) -> None:
    module = '[submodule "x"]\n\tpath = {}\n'
    (tmp_path / ".git").mkdir()
    (tmp_path / "root/lib/there").mkdir(parents=True)
    (tmp_path / ".gitmodules").write_text(module.format("root/lib/there"))
    (tmp_path / "root/lib/there/.gitmodules").write_text(module.format("nested"))
    assert absent_submodules(tmp_path / "root", tmp_path / "root/lib") == ("there/nested",)
    around = "lib/there/nested"
    assert absent_around(tmp_path / "root", tmp_path / "root" / around / "in") == around
    assert absent_around(tmp_path / "root", tmp_path / "root/lib") is None


@pytest.mark.parametrize("name", [".", "..", "link", "link/../..", "link/link"])
def test_a_submodule_that_is_not_below_its_repository_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "repository/.git").mkdir(parents=True)
    (tmp_path / "repository/link").symlink_to(".")
    modules = f'[submodule "x"]\n\tpath = {name}\n'
    (tmp_path / "repository/.gitmodules").write_text(modules)
    assert absent_submodules(tmp_path / "repository", tmp_path / "repository") == ()


def test_a_repository_without_submodules_lacks_none(tmp_path: Path) -> None:
    assert absent_submodules(tmp_path, tmp_path) == ()


def test_without_a_common_ancestor_the_whole_history_is_to_be_fetched(tmp_path: Path) -> None:
    repository = committed(tmp_path, {"a": "1"})
    git(repository, "checkout", "--quiet", "--orphan", "other")
    (repository / "a").write_text("2")
    commit(repository)
    with pytest.raises(EnvmatrixError, match="no common ancestor with `main`") as caught:
        changed_files(repository, "main")
    assert "`git fetch --unshallow`" in str(caught.value.hint)


@pytest.mark.parametrize("revision", ["^HEAD", "^main", "nowhere", "", "--since=1"])
def test_a_revision_that_is_no_single_commit_is_an_error(tmp_path: Path, revision: str) -> None:
    repository = committed(tmp_path, {"a": "1"})
    for read in (changed_files, commit_time):
        with pytest.raises(ConfigurationError, match=r"revision `.*` cannot be read: "):
            read(repository, revision)


def test_a_revision_of_a_repository_with_sha256_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    repository = committed(tmp_path, {"a": "1"})
    assert len(head(repository)) == 64
    assert changed_files(repository, "main") == ()


def test_without_git_it_is_told_what_reads_revisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvmatrixError, match="`git` is missing") as caught:
        commit_time(tmp_path, "HEAD")
    assert caught.value.hint == "revisions are read with git"


def test_commits_between_two_are_those_of_first_parents(tmp_path: Path) -> None:
    repository = committed(tmp_path, {"a": "1"})
    good = head(repository)
    git(repository, "checkout", "--quiet", "-b", "topic")
    committed(repository, {"b": "1"})
    git(repository, "checkout", "--quiet", "main")
    committed(repository, {"a": "2"})
    second = head(repository)
    git(repository, "merge", "--quiet", "--no-ff", "--message=merge", "topic")
    assert commits_between(repository, good, "HEAD") == (second, head(repository))


def test_revisions_that_do_not_follow_each_other_have_no_commits_between(tmp_path: Path) -> None:
    repository = committed(tmp_path, {"a": "1"})
    git(repository, "branch", "other")
    committed(repository, {"a": "2"})
    for good, bad in (("HEAD", "other"), ("HEAD", "HEAD")):
        with pytest.raises(ConfigurationError, match="does not follow"):
            commits_between(repository, good, bad)
