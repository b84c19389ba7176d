from __future__ import annotations

import os
from pathlib import Path

from envmatrix.sessions.copies import update


def test_a_copy_follows_its_source_and_keeps_what_was_made_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "d").mkdir(parents=True)
    (source / ".git").mkdir()
    (source / ".git/config").write_text("")
    (source / "a").write_text("1")
    (source / "d/b").write_text("2")
    (source / "link").symlink_to("a")
    update(source, target)
    (target / "made.o").write_text("object")
    assert (target / "link").readlink() == Path("a")
    assert not (target / ".git").exists()

    (source / "a").write_text("changed")
    (source / "d/b").unlink()
    update(source, target)

    assert (target / "a").read_text() == "changed"
    assert not (target / "d/b").exists()
    assert (target / "made.o").read_text() == "object"


def test_a_file_that_did_not_change_keeps_its_time(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "a").write_text("1")
    update(source, target)
    os.utime(target / "a", ns=((source / "a").stat().st_mtime_ns,) * 2)
    before = (target / "a").stat().st_ctime_ns
    update(source, target)
    assert (target / "a").stat().st_ctime_ns == before


def test_a_repository_is_not_copied_with_what_is_built_in_it(tmp_path: Path) -> None:
    target = tmp_path / "build/cell/library/source"
    (tmp_path / "src/build").mkdir(parents=True)
    (tmp_path / "src/build/rules").write_text("")
    (tmp_path / ".envmatrix").mkdir()
    (tmp_path / ".envmatrix/results.sqlite").write_text("")
    for _ in range(2):
        update(tmp_path, target)
    found = [its.relative_to(target).as_posix() for its in target.rglob("*") if its.is_file()]
    assert sorted(found) == [".envmatrix-copied", "src/build/rules"]
