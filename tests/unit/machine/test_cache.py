from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from envmatrix.machine.cache import (
    cache_directory,
    exclusive,
    forget_checkout,
    record_checkout,
    recorded_checkouts,
)


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("ENVMATRIX_CACHE")
    assert cache_directory().name == "envmatrix"


def test_one_at_a_time_holds_a_lock_and_the_next_is_told_to_wait(tmp_path: Path) -> None:
    file, order = tmp_path / "locks/a", []
    waiting = threading.Event()

    def second() -> None:
        with exclusive(file, waiting.set):
            order.append("second")

    with exclusive(file, lambda: pytest.fail("nobody holds it")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_checkouts_are_recorded_once_and_forgotten(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "ü b"
    for root in (second, first, first):
        record_checkout(tmp_path, root)
    assert recorded_checkouts(tmp_path) == [first, second]
    forget_checkout(tmp_path, first)
    assert recorded_checkouts(tmp_path) == [second]


def test_a_checkout_whose_name_is_not_utf_8_is_recorded(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    record_checkout(tmp_path, root)
    assert recorded_checkouts(tmp_path) == [root]
    forget_checkout(tmp_path, root)
    assert recorded_checkouts(tmp_path) == []


def test_what_cannot_be_the_record_of_a_checkout_is_passed_over(tmp_path: Path) -> None:
    record_checkout(tmp_path, tmp_path / "a")
    directory = tmp_path / "checkouts"
    os.mkfifo(directory / "pipe")
    (directory / "directory").mkdir()
    (directory / "link").symlink_to(next(file for file in directory.iterdir() if file.is_file()))
    (directory / "loop").symlink_to("loop")
    (directory / "bytes").write_bytes(b"\xff\xfe")
    (directory / "damaged").write_text(str(tmp_path))
    with (directory / "large").open("wb") as handle:
        handle.truncate(1 << 40)
    assert recorded_checkouts(tmp_path) == [tmp_path / "a"]
    forget_checkout(tmp_path, tmp_path / "a")
    assert recorded_checkouts(tmp_path) == []


def test_a_cache_that_nobody_used_has_no_checkouts(tmp_path: Path) -> None:
    assert recorded_checkouts(tmp_path / "absent") == []
