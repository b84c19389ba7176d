from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from envmatrix.confined import Area
from envmatrix.sessions import source_sync


def update(source: Path, build: Path) -> Path:
    """Copy into the directory `source` of a build directory; the list of it is beside that."""
    with Area(build).opened() as directory:
        source_sync.update(source, directory, build.with_name(f"{build.name}.copied"))
    return build / "source"


def test_a_copy_follows_its_source_and_keeps_what_was_made_there(tmp_path: Path) -> None:
    source, build = tmp_path / "source", tmp_path / "build/native"
    (source / "d").mkdir(parents=True)
    (source / ".git").mkdir()
    (source / ".git/config").write_text("")
    (source / "a").write_text("1")
    (source / "d/b").write_text("2")
    (source / "link").symlink_to("a")
    target = update(source, build)
    (target / "made.o").write_text("object")
    assert (target / "link").readlink() == Path("a")
    assert not (target / ".git").exists()

    (source / "a").write_text("changed")
    (source / "d/b").unlink()
    update(source, build)

    assert (target / "a").read_text() == "changed"
    assert not (target / "d/b").exists()
    assert (target / "made.o").read_text() == "object"


def test_a_file_that_did_not_change_keeps_its_time(tmp_path: Path) -> None:
    source, build = tmp_path / "source", tmp_path / "build/native"
    source.mkdir()
    (source / "a").write_text("1")
    target = update(source, build)
    os.utime(target / "a", ns=((source / "a").stat().st_mtime_ns,) * 2)
    before = (target / "a").stat().st_ctime_ns
    update(source, build)
    assert (target / "a").stat().st_ctime_ns == before


def test_a_repository_is_not_copied_with_what_is_built_in_it(tmp_path: Path) -> None:
    build = tmp_path / "build/cell/library/native"
    (tmp_path / "src/build").mkdir(parents=True)
    (tmp_path / "src/build/rules").write_text("")
    (tmp_path / ".envmatrix").mkdir()
    (tmp_path / ".envmatrix/results.sqlite").write_text("")
    for _ in range(2):
        target = update(tmp_path, build)
    files = [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()]
    assert sorted(files) == ["src/build/rules"]


@pytest.mark.parametrize("name", [".", "a", "d", "d/b"])
def test_a_library_that_puts_links_into_its_copy_has_nothing_written_through_them(
    tmp_path: Path, name: str
) -> None:
    source, build, victim = tmp_path / "source", tmp_path / "build/native", tmp_path / "victim"
    for root in (source, victim):
        (root / "d").mkdir(parents=True)
        (root / "a").write_text(root.name)
        (root / "d/b").write_text(root.name)
    target = update(source, build)
    hostile = target if name == "." else target / name
    if hostile.is_dir():
        shutil.rmtree(hostile)
    hostile.unlink(missing_ok=True)
    hostile.symlink_to(victim / name)
    (source / "a").write_text("changed")

    update(source, build)

    assert (victim / "a").read_text() == (victim / "d/b").read_text() == "victim"
    assert (target / "a").read_text() == "changed"
    assert (target / "d/b").read_text() == "source"


def test_a_list_that_a_library_writes_is_not_believed(tmp_path: Path) -> None:
    source, build, victim = tmp_path / "source", tmp_path / "build/native", tmp_path / "victim"
    source.mkdir()
    victim.write_text("victim")
    target = update(source, build)
    for place in (target, build):
        (place / ".envmatrix-copied").write_text(json.dumps([str(victim), "../../../victim"]))
    update(source, build)
    assert victim.read_text() == "victim"


def test_a_list_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    source, build = tmp_path / "source", tmp_path / "build/native"
    source.mkdir()
    (source / "a").touch()
    update(source, build)
    record = build.with_name("native.copied")
    record.write_bytes(b"\0")
    assert (update(source, build) / "a").is_file()
    assert json.loads(record.read_text()) == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "3",
        "{}",
        "[" * 100_000,
        '["made.o", {}]',
        '["made.o", ""]',
        '["made.o", "."]',
        '["made.o", "./a"]',
        '["made.o", "/a"]',
        '["made.o", "//a"]',
        '["made.o", "../../x"]',
        '["made.o", "a\\u0000b"]',
        '["made.o", "\\ud800"]',
        json.dumps(["made.o", "x" * 5000]),
    ],
)
def test_a_damaged_list_is_made_again_and_removes_nothing(tmp_path: Path, text: str) -> None:
    source, build = tmp_path / "source", tmp_path / "build/native"
    source.mkdir()
    (source / "a").touch()
    target = update(source, build)
    (target / "made.o").touch()
    (target / "a").unlink()
    record = build.with_name("native.copied")
    record.write_text(text)
    update(source, build)
    assert sorted(path.name for path in target.iterdir()) == ["a", "made.o"]
    assert json.loads(record.read_text()) == ["a"]


def test_a_file_where_a_directory_was_is_copied_after_an_interrupted_run(tmp_path: Path) -> None:
    source, build = tmp_path / "source", tmp_path / "build/native"
    source.mkdir()
    (source / "d").write_text("file")
    target = update(source, build)
    build.with_name("native.copied").write_text('["d/b"]')
    update(source, build)
    assert (target / "d").read_text() == "file"
