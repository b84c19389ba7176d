from __future__ import annotations

from pathlib import Path

from envmatrix.vcs.git import absent_submodules


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
