from __future__ import annotations

import errno
import hashlib
import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pytest

from envmatrix.lock.model import Artifact
from envmatrix.machine.cache import cache_directory
from envmatrix.store.artifacts import Store, link_or_copy

TEXT = b"the bytes of a package"
ITEM = Artifact("debian", "pool/a_1.deb", "a", "1", len(TEXT), hashlib.sha256(TEXT).hexdigest())


# The names of a file in the cache: of itself, of a part of it, and of its lock.
NAMES = (
    f"sha256/{ITEM.sha256[:2]}/{ITEM.sha256}",
    f"partial/{ITEM.sha256}",
    f"locks/{ITEM.sha256}",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, content: bytes = TEXT) -> Path:
    with store.incoming(ITEM) as partial:
        partial.write_bytes(content)
        store.keep(ITEM, partial)
    return store.path(ITEM)


def test_what_is_kept_is_there_and_verified(store: Store) -> None:
    path = put(store)
    assert path.read_bytes() == TEXT
    assert store.has(ITEM)
    assert store.verified(ITEM)
    assert path.stat().st_mode & 0o777 == 0o444


def test_what_was_never_kept_is_not_there(store: Store) -> None:
    assert not store.has(ITEM)
    assert not store.verified(ITEM)


@pytest.mark.parametrize(
    "content",
    [b"", TEXT[:-1], TEXT + b"!", TEXT.swapcase()],
    ids=["empty", "truncated", "too-long", "corrupt"],
)
def test_a_file_that_is_not_what_its_name_promises_is_removed(store: Store, content: bytes) -> None:
    path = put(store, content)
    assert not store.verified(ITEM)
    assert not path.exists()


def test_a_failed_download_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.incoming(ITEM) as partial:
            partial.write_bytes(TEXT[:3])
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert not store.has(ITEM)
    assert not list((store.root / "partial").iterdir())


def test_a_leftover_of_a_killed_process_is_written_over(store: Store) -> None:
    partial = store.root / "partial" / ITEM.sha256
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 100)
    assert put(store).read_bytes() == TEXT


def test_a_leftover_that_shares_the_bytes_of_a_file_is_not_written_through(
    store: Store, tmp_path: Path
) -> None:
    partial, source = store.root / "partial" / ITEM.sha256, tmp_path / "source"
    partial.parent.mkdir(parents=True)
    source.write_bytes(b"source")
    partial.hardlink_to(source)
    assert put(store).read_bytes() == TEXT
    assert source.read_bytes() == b"source"


def make_directory_with_content(path: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"content")


# What may have a name in the cache, except for a file.
KINDS: dict[str, Callable[[Path], None]] = {
    "directory": make_directory_with_content,
    "pipe": os.mkfifo,
    "link-to-nothing": lambda path: path.symlink_to("nothing"),
    "link-to-itself": lambda path: path.symlink_to(path.name),
}


def place(store: Store, name: str, make: Callable[[Path], None]) -> Path:
    path = store.root / name
    path.parent.mkdir(parents=True)
    make(path)
    return path


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_of_the_cache_is_replaced(store: Store, name: str, kind: str) -> None:
    place(store, name, KINDS[kind])
    assert not store.verified(ITEM)
    assert put(store).read_bytes() == TEXT
    assert store.verified(ITEM)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_directory", [False, True], ids=["file", "directory"])
def test_what_a_link_in_the_cache_names_stays(
    store: Store, tmp_path: Path, name: str, *, is_directory: bool
) -> None:
    directory = tmp_path / "other"
    directory.mkdir()
    (directory / "file").write_bytes(TEXT)
    target = directory if is_directory else directory / "file"
    link = place(store, name, lambda path: path.symlink_to(target))
    assert not store.verified(ITEM)
    put(store)
    assert store.verified(ITEM)
    assert not link.is_symlink()
    assert (directory / "file").read_bytes() == TEXT
    assert (directory / "file").stat().st_mode & 0o200


@pytest.mark.parametrize("name", ["locks", "partial", "sha256", f"sha256/{ITEM.sha256[:2]}"])
def test_what_is_no_directory_of_the_cache_is_replaced(store: Store, name: str) -> None:
    place(store, name, Path.touch)
    assert not store.verified(ITEM)
    put(store)
    assert store.verified(ITEM)


def test_a_file_that_is_replaced_meanwhile_is_not_removed(store: Store) -> None:
    path = put(store, TEXT.swapcase())
    with ThreadPoolExecutor(1) as pool:
        with store.incoming(ITEM) as partial:
            check = pool.submit(store.verified, ITEM)
            wait([check], timeout=0.2)  # it has read the wrong file by then
            partial.write_bytes(TEXT)
            store.keep(ITEM, partial)
        assert check.result()
    assert path.read_bytes() == TEXT


def test_the_lock_of_a_file_is_not_replaced(store: Store) -> None:
    lock = store.root / "locks" / ITEM.sha256
    put(store)
    before = lock.stat().st_ino
    put(store)
    assert lock.stat().st_ino == before


def test_a_name_is_never_seen_before_its_bytes_are_whole(store: Store) -> None:
    with store.incoming(ITEM) as partial:
        partial.write_bytes(TEXT)
        assert not store.has(ITEM)
        store.keep(ITEM, partial)
        assert not partial.exists()
        assert store.verified(ITEM)


def test_a_link_shares_the_bytes(store: Store, tmp_path: Path) -> None:
    path = put(store)
    link_or_copy(path, tmp_path / "a.deb")
    assert (tmp_path / "a.deb").samefile(path)


def test_a_link_never_writes_through_another_one(store: Store, tmp_path: Path) -> None:
    path = put(store)
    link_or_copy(path, tmp_path / "a.deb")
    other = tmp_path / "other"
    other.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        link_or_copy(other, tmp_path / "a.deb")
    assert path.read_bytes() == TEXT


def test_a_file_system_without_links_gets_a_copy(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(TEXT)
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system only")
    copy = memory / f"envmatrix-test-{os.getpid()}"
    try:
        link_or_copy(source, copy)
        assert copy.read_bytes() == TEXT
    finally:
        copy.unlink()


def no_links(_destination: Path, _source: Path) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Have writes beyond `size` fail, as those to a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_with_the_copy_and_not_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(TEXT)
    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(OSError, match="File too large") as caught, file_size_limit(4):
        link_or_copy(source, copy)
    assert caught.value.filename == str(copy)


def test_the_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    assert Store.of_user().root == tmp_path / "artifacts"
    monkeypatch.delenv("ENVMATRIX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg/envmatrix"
