"""What stands where a file should be is never waited for."""

from __future__ import annotations

import errno
import io
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from envmatrix.app.workspace import Workspace
from envmatrix.confined import Area
from envmatrix.errors import ConfigurationError, OutOfDate
from envmatrix.files import new_directory, read_regular, readable_text, text_of, write_whole
from envmatrix.images.model import Image
from envmatrix.lock import images_lock, lock_file
from envmatrix.machine import configuration
from envmatrix.machine.access import Access
from envmatrix.machine.origins import apt_sources
from envmatrix.matrix.loading import load_matrix
from envmatrix.results.waivers import load_waivers
from envmatrix.sessions.analysis.baselines import load_baseline
from envmatrix.vcs.git import absent_submodules

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "cuda13.5-debian12"


def listening(file: Path) -> None:
    """Create a socket; its name may be longer than an address."""
    directory = Path.cwd()
    os.chdir(file.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(file.name)
    finally:
        os.chdir(directory)


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "a socket": listening,
    "a device": lambda file: file.symlink_to("/dev/zero"),
}

READERS: dict[str, Callable[[Path], object]] = {
    "matrix.yaml": load_matrix,
    "matrix.d/x.yaml": load_matrix,
    "envs/devel.yaml": load_matrix,
    "matrix.lock.json": lock_file.load,
    "images.lock.json": images_lock.load,
    "waivers.yaml": load_waivers,
    "baselines/lib.json": lambda root: load_baseline(root, "lib", "cell"),
    **{
        f"{read.__name__}/config.toml": lambda root, read=read: read(  # type: ignore[misc]
            root / read.__name__ / "config.toml"
        )
        for read in (
            configuration.configured_mirrors,
            configuration.configured_mirror,
            configuration.configured_results,
            configuration.configured_keyring,
            configuration.configured_sdks,
            configuration.configured_trust,
            configuration.configured_compiler_cache,
        )
    },
}


pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("matrix.yaml", "matrix.lock.json"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    return tmp_path


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_by_name(repository: Path, name: str, kind: str) -> None:
    file = repository / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    NO_FILES[kind](file)
    with pytest.raises(ConfigurationError) as refused:
        READERS[name](repository)
    (message,) = {str(problem) for problem in refused.value.problems if "read" in str(problem)}
    assert message.endswith(f"{name}` cannot be read: it is no regular file")


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", [f"{ENVIRONMENT}/Dockerfile", "scripts/tree.sh"])
def test_what_is_no_generated_file_is_out_of_date(repository: Path, name: str, kind: str) -> None:
    shutil.copytree(ROOT / "dockerfiles", repository / "dockerfiles")
    image = Image(ENVIRONMENT, "runtime", "amd64")
    assert Workspace(repository).plan([image])
    file = repository / "dockerfiles" / name
    file.unlink()
    NO_FILES[kind](file)
    with pytest.raises(OutOfDate, match=f"`dockerfiles/{name}` is not what the lock says"):
        Workspace(repository).plan([image])


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_of_the_machine_says_nothing(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name in (".gitmodules", ".netrc", "auth.conf", "sources.list", "sources.list.d/a.sources"):
        NO_FILES[kind](tmp_path / name)
        assert readable_text(tmp_path / name) == ""
    assert apt_sources(tmp_path) == ()
    assert absent_submodules(tmp_path, tmp_path) == ()
    access = Access({"HOME": str(tmp_path)}, tmp_path)
    assert (access._logins_of_apt, access.netrc) == ((), ())


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_copied_to_where_containers_write(tmp_path: Path, kind: str) -> None:
    NO_FILES[kind](tmp_path / "file")
    with (
        Area(tmp_path / "area").opened() as area,
        pytest.raises(OSError, match="it is no regular file"),
    ):
        area.copy(tmp_path / "file", "copy")


def test_a_file_is_written_in_the_place_of_a_pipe_and_not_of_a_directory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write_whole(tmp_path / "pipe", b"text")
    assert read_regular(tmp_path / "pipe") == b"text"
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError, match="directory"):
        write_whole(tmp_path / "directory", b"text")
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "directory"}


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(FileExistsError, match="it is a device"):
        write_whole(Path("/dev/null"), b"text")
    assert Path("/dev/null").is_char_device()


def test_an_error_of_writing_names_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        write_whole(tmp_path / ("a" * 250), b"text")
    assert caught.value.filename == str(tmp_path / ("a" * 250))


def test_what_leads_nowhere_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text\r\n")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("none", "link", "file/below"):
        with pytest.raises(FileNotFoundError):
            text_of(tmp_path / name, name)
    assert text_of(tmp_path / "file", "file") == "text\n"


def test_why_a_file_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(ConfigurationError, match="`circle` cannot be read: too many levels"):
        text_of(tmp_path / "circle", "circle")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="`bytes` is not UTF-8"):
        text_of(tmp_path / "bytes", "bytes")


def test_a_new_directory_has_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "cache/tree"
    (tmp_path / "cache/tree.part/left").mkdir(parents=True)  # by a process that was killed
    with new_directory(target) as scratch:
        assert not scratch.exists()
        scratch.mkdir()
        (scratch / "file").write_text("text")
        assert not target.exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "cache",
        "cache/tree",
        "cache/tree/file",
    ]


def test_a_directory_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    def interrupt() -> None:
        with new_directory(tmp_path / "tree") as scratch:
            scratch.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert [*tmp_path.iterdir()] == []


def test_a_full_disk_is_told_with_the_file_that_was_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.BytesIO):
        def write(self, _content: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_full(descriptor: int, _mode: str) -> FullDisk:
        os.close(descriptor)
        return FullDisk()

    monkeypatch.setattr(os, "fdopen", open_full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(tmp_path / "file", b"content")
    assert caught.value.filename == str(tmp_path / "file")
    assert not [*tmp_path.iterdir()]
