from __future__ import annotations

import os
from pathlib import Path

import pytest

from envmatrix.lock.model import Lock
from envmatrix.store.unfinished_locks import UnfinishedLock

LOCK = Lock(1)


def test_what_is_kept_is_found_until_it_is_finished(tmp_path: Path) -> None:
    unfinished = UnfinishedLock.of(tmp_path, tmp_path, "before", None)
    assert unfinished.find() is None
    unfinished.keep(LOCK)
    assert unfinished.find() == LOCK
    unfinished.forget()
    assert unfinished.find() is None


def test_what_was_begun_from_something_else_is_another(tmp_path: Path) -> None:
    UnfinishedLock.of(tmp_path, tmp_path, "before", None).keep(LOCK)
    assert UnfinishedLock.of(tmp_path, tmp_path, "after", None).find() is None
    assert UnfinishedLock.of(tmp_path, tmp_path, "before", ()).find() is None
    assert UnfinishedLock.of(tmp_path, tmp_path / "other", "before", None).find() is None


def test_what_was_found_yesterday_is_looked_up_again(tmp_path: Path) -> None:
    unfinished = UnfinishedLock(tmp_path / "begun")
    unfinished.keep(LOCK)
    before = unfinished.file.stat().st_mtime - 25 * 3600
    os.utime(unfinished.file, (before, before))
    assert unfinished.find() is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"version": 0}'])
def test_a_damaged_one_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "begun").write_bytes(content)
    assert UnfinishedLock(tmp_path / "begun").find() is None
