from __future__ import annotations

from pathlib import Path

import pytest
from tests.repositories import commit, committed, git, head

from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.vcs.git import absent_submodules, changed_files, commit_time


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
