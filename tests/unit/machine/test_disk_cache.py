from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

import envmatrix
from envmatrix.errors import Position
from envmatrix.files import write_whole
from envmatrix.machine import disk_cache
from envmatrix.machine.disk_cache import cached_value, identity, identity_by_state


class CallCounter:
    """A maker of values that returns the number of its calls."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/remembered"


@pytest.fixture
def make() -> CallCounter:
    return CallCounter()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "matrix.yaml"
    file.write_text("a")
    return file


def test_what_no_file_has_changed_is_not_made_again(make: CallCounter, file: Path) -> None:
    assert [cached_value("n", identity([file]), make) for _ in range(3)] == [1, 1, 1]


def change(file: Path) -> None:
    file.write_text("b")


@pytest.mark.parametrize("touch", [change, Path.unlink])
def test_what_changed_is_made_anew(
    make: CallCounter, file: Path, touch: Callable[[Path], None]
) -> None:
    cached_value("n", identity([file]), make)
    touch(file)
    assert [cached_value("n", identity([file]), make) for _ in range(2)] == [2, 2]


def test_a_file_more_is_a_change(make: CallCounter, file: Path, tmp_path: Path) -> None:
    cached_value("n", identity([file]), make)
    assert cached_value("n", identity([file, tmp_path / "absent"]), make) == 2


def test_each_name_has_its_own(make: CallCounter) -> None:
    assert [cached_value(name, b"", make) for name in ("n", "m", "n", "m")] == [1, 2, 1, 2]


def test_another_tool_remembers_nothing(
    make: CallCounter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_value("n", identity([file]), make)
    monkeypatch.setattr(envmatrix, "__version__", "another")
    disk_cache._tool.cache_clear()
    assert cached_value("n", identity([file]), make) == 2
    disk_cache._tool.cache_clear()


@pytest.mark.parametrize("damage", [b"", b"\n", b"junk", b"0" * 64 + b"\njunk"])
def test_what_was_damaged_is_made_anew(
    make: CallCounter, file: Path, cache: Path, damage: bytes
) -> None:
    cached_value("n", identity([file]), make)
    (entry,) = cache.iterdir()
    entry.write_bytes(damage)
    assert [cached_value("n", identity([file]), make) for _ in range(2)] == [2, 2]


def test_what_others_can_write_is_not_trusted(make: CallCounter, file: Path, cache: Path) -> None:
    cached_value("n", identity([file]), make)
    (entry,) = cache.iterdir()
    assert entry.stat().st_mode & 0o777 == 0o600
    entry.chmod(0o620)
    assert [cached_value("n", identity([file]), make) for _ in range(2)] == [2, 2]


def test_a_directory_that_others_can_write_is_begun_anew(
    make: CallCounter, file: Path, cache: Path
) -> None:
    before = os.umask(0o002)
    try:
        cached_value("n", identity([file]), make)
        assert cache.stat().st_mode & 0o777 == 0o700
        cache.chmod(0o775)
        (cache / "planted").touch()
        assert [cached_value("n", identity([file]), make) for _ in range(2)] == [2, 2]
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert not (cache / "planted").exists()


def test_nothing_is_read_through_a_link(make: CallCounter, file: Path, cache: Path) -> None:
    cached_value("n", identity([file]), make)
    (entry,) = cache.iterdir()
    moved = entry.rename(cache.parent / "elsewhere")
    entry.symlink_to(moved)
    assert [cached_value("n", identity([file]), make) for _ in range(2)] == [2, 2]
    real = cache.rename(cache.parent / "real")
    cache.symlink_to(real)
    assert [cached_value("n", identity([file]), make) for _ in range(2)] == [3, 3]
    assert not cache.is_symlink()


class Program:
    """An object that runs a program where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


class OwnProgram(Program):
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return write_whole, (str(self.mark),)


@pytest.mark.parametrize("program", [Program, OwnProgram])
def test_nothing_that_is_kept_can_run(
    make: CallCounter, file: Path, cache: Path, tmp_path: Path, program: type[Program]
) -> None:
    cached_value("n", identity([file]), make)
    (entry,) = cache.iterdir()
    content = pickle.dumps(program(tmp_path / "ran"))
    seal = disk_cache._seal(disk_cache._tool() + identity([file]), content)
    entry.write_bytes(seal + b"\n" + content)
    assert cached_value("n", identity([file]), make) == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [Position("f", 1, 2), (date(2026, 1, 2), None, ("a", {"b": 1}))])
def test_values_of_ours_are_kept(file: Path, value: object) -> None:
    cached_value("n", identity([file]), lambda: value)
    assert cached_value("n", identity([file]), lambda: None) == value


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert identity([tmp_path / "pipe"]) == identity([tmp_path / "pipe"])


def test_an_error_is_not_kept(make: CallCounter, cache: Path) -> None:
    def fail() -> int:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        cached_value("n", b"", fail)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_only_time(
    make: CallCounter, file: Path, cache: Path
) -> None:
    cache.parent.write_text("no directory")
    assert [cached_value("n", identity([file]), make) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("put", [Path.touch, os.mkfifo])
def test_what_is_in_place_of_the_directory_is_replaced(
    make: CallCounter, file: Path, cache: Path, put: Callable[[Path], None]
) -> None:
    cache.parent.mkdir()
    put(cache)
    assert [cached_value("n", identity([file]), make) for _ in range(2)] == [1, 1]


def test_a_value_that_is_too_large_is_absent(make: CallCounter, cache: Path) -> None:
    cached_value("n", b"", make)
    (entry,) = cache.iterdir()
    os.truncate(entry, 1 << 40)
    assert [cached_value("n", b"", make) for _ in range(2)] == [2, 2]


def test_a_value_that_would_be_too_large_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "_MOST_BYTES", 100)
    assert cached_value("n", b"", lambda: "a" * 200) == "a" * 200
    assert not cache.exists()


def test_values_of_last_month_are_removed_once_a_day(make: CallCounter, cache: Path) -> None:
    cached_value("first", b"", make)
    (first,) = cache.iterdir()
    os.utime(first, (0, 0))
    cached_value("second", b"", make)
    assert first.exists()
    os.utime(cache.with_suffix(".swept"), (0, 0))
    cached_value("third", b"", make)
    assert not first.exists()
    assert len([*cache.iterdir()]) == 2


def test_thousands_of_values_are_all_there(make: CallCounter, cache: Path) -> None:
    for _ in range(2):
        for number in range(2000):
            cached_value(f"{number}", b"", make)
    assert make.times == 2000


@pytest.fixture
def later(file: Path) -> float:
    """Return a time at which no file changed a moment ago."""
    return file.stat().st_ctime + 3600


def test_settled_files_are_read_again_only_after_a_change(
    file: Path, later: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity_by_state("n", [str(file)], later)
    assert before == identity([file])
    monkeypatch.setattr(disk_cache, "identity", lambda _files: b"read")
    assert identity_by_state("n", [str(file)], later) == before
    file.write_text("a")  # the same, at another time
    assert identity_by_state("n", [str(file)], later) == b"read"


def test_what_was_written_a_moment_ago_is_read_in_any_case(file: Path) -> None:
    now = file.stat().st_ctime
    before = identity_by_state("n", [str(file)], now)
    file.write_text("b")
    assert identity_by_state("n", [str(file)], now) == identity([file]) != before


def test_a_file_with_its_old_time_of_modification_is_a_changed_one(
    file: Path, later: float
) -> None:
    before, status = identity_by_state("n", [str(file)], later), file.stat()
    file.write_text("b")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity_by_state("n", [str(file)], later) != before


def test_a_file_that_goes_is_a_change(file: Path, later: float) -> None:
    other = file.with_name("other")
    other.write_text("a")
    before = identity_by_state("n", [str(file), str(other)], later)
    other.unlink()
    assert identity_by_state("n", [str(file), str(other)], later) != before
