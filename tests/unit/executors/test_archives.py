"""Inputs packed, and outputs unpacked."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.confined import Area
from envmatrix.engine.tasks import Mount
from envmatrix.errors import EngineError, EnvmatrixError
from envmatrix.executors.archives import digest_of_file, packed, unpack_into


def digest(mount: Mount) -> str:
    with packed(mount) as archive:
        assert archive
        return digest_of_file(archive)


def tree(directory: Path) -> dict[str, object]:
    def content(file: Path) -> object:
        if file.is_symlink():
            return file.readlink()
        status = file.stat()
        mode = stat.S_IMODE(status.st_mode)
        return None if file.is_dir() else (mode, status.st_mtime_ns // 10**6, file.read_bytes())

    return {str(file.relative_to(directory)): content(file) for file in directory.rglob("*")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "empty").mkdir(parents=True)
    (directory / "a").mkdir()
    (directory / "a" / "file").write_bytes(b"content")
    (directory / "a" / "file").chmod(0o640)
    os.utime(directory / "a" / "file", ns=(1, 1_700_000_000_123_000_000))
    (directory / os.fsdecode(b"name \n\xff")).write_bytes(b"")
    (directory / "link").symlink_to("/etc/passwd")
    (directory / "directory").symlink_to("a")
    return directory


def test_what_is_packed_is_unpacked_the_same(source: Path, tmp_path: Path) -> None:
    area = Area(tmp_path / "area")
    with packed(Mount(source, "/src")) as archive:
        assert archive
        unpack_into(area, archive)
    assert tree(tmp_path / "area") == tree(source)


def test_an_area_is_packed_like_a_directory(source: Path) -> None:
    assert digest(Mount(Area(source), "/src")) == digest(Mount(source, "/src"))


def test_equal_directories_have_equal_archives(source: Path, tmp_path: Path) -> None:
    area = Area(tmp_path / "area")
    with packed(Mount(source, "/src")) as archive:
        assert archive
        unpack_into(area, archive)
    assert digest(Mount(area, "/src")) == digest(Mount(source, "/src"))


def test_a_file_is_an_archive_of_its_own(source: Path, tmp_path: Path) -> None:
    area = Area(tmp_path / "area")
    with packed(Mount(source / "a" / "file", "/file")) as archive:
        assert archive
        unpack_into(area, archive)
    assert [*tree(tmp_path / "area")] == ["file"]


def test_an_empty_area_has_no_archive(tmp_path: Path) -> None:
    with packed(Mount(Area(tmp_path / "area"), "/build")) as archive:
        assert archive is None


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="missing"), packed(Mount(tmp_path / "missing", "/x")):
        pass


def test_pipes_sockets_and_privileges_are_left_out(source: Path) -> None:
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
    (source / "program").touch()
    (source / "program").chmod(0o6755)
    with packed(Mount(Area(source), "/src")) as archive:
        assert archive
        with tarfile.open(archive) as entries:
            headers = {entry.name: entry for entry in entries}
    assert not {"pipe", "socket"} & {*headers}
    assert headers["program"].mode == 0o755
    assert {(entry.uid, entry.gid, entry.uname) for entry in headers.values()} == {(0, 0, "")}


def archive_of(*headers: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for header in headers:
            archive.addfile(header, io.BytesIO(b"x" * header.size))
    return file.getvalue()


def header(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, target, mode
    entry.size = 1 if kind == tarfile.REGTYPE else 0
    return entry


@pytest.mark.parametrize(
    "headers",
    [
        [header("../escaped")],
        [header("/escaped")],
        [header("a/../../escaped")],
        [header("hard", tarfile.LNKTYPE, "../secret")],
        [header("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [header("hard", tarfile.LNKTYPE, "missing")],
    ],
    ids=["above", "absolute", "through", "hard link above", "absolute hard link", "missing"],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, headers: list[tarfile.TarInfo]) -> None:
    file = tmp_path / "archive"
    file.write_bytes(archive_of(*headers))
    with pytest.raises(EnvmatrixError):
        unpack_into(Area(tmp_path / "below" / "area"), file)
    assert not [*tmp_path.rglob("escaped")]


def test_hard_links_are_files_and_devices_and_pipes_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "archive"
    special = [header("device", tarfile.CHRTYPE), header("pipe", tarfile.FIFOTYPE)]
    hard = header("./hard", tarfile.LNKTYPE, "file")
    file.write_bytes(archive_of(header("./", tarfile.DIRTYPE), header("file"), hard, *special))
    unpack_into(Area(tmp_path / "area"), file)
    assert {name.name: name.read_bytes() for name in (tmp_path / "area").iterdir()} == {
        "file": b"x",
        "hard": b"x",
    }


def test_nothing_is_written_through_a_link_of_the_archive(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    file = tmp_path / "archive"
    link = header("link", tarfile.SYMTYPE, str(outside))
    file.write_bytes(archive_of(link, header("link/escaped"), header("set", mode=0o6755)))
    unpack_into(Area(tmp_path / "area"), file)
    assert [*outside.iterdir()] == []
    assert stat.S_IMODE((tmp_path / "area" / "set").stat().st_mode) == 0o755


def test_unpacking_replaces_everything(source: Path, tmp_path: Path) -> None:
    area = tmp_path / "area"
    area.mkdir()
    (area / "old").touch()
    (area / "a").symlink_to(tmp_path)
    with packed(Mount(source, "/src")) as archive:
        assert archive
        unpack_into(Area(area), archive)
    assert tree(area) == tree(source)


@given(st.binary(max_size=4096))
def test_no_bytes_do_anything_but_fail(content: bytes) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "archive"
        file.write_bytes(content)
        with suppress(EnvmatrixError):
            unpack_into(Area(Path(directory) / "area"), file)
        assert {entry.name for entry in Path(directory).iterdir()} <= {"archive", "area"}


def test_entries_of_the_top_alone_are_left_out(tmp_path: Path) -> None:
    for name in ("build/a", "inside/build/b"):
        (tmp_path / name).mkdir(parents=True)
    with packed(Mount(tmp_path, "/src", ("build",))) as archive:
        assert archive
        with tarfile.open(archive) as content:
            assert content.getnames() == ["inside", "inside/build", "inside/build/b"]
