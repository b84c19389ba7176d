from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.store.image_ids import Made


@pytest.fixture
def records(tmp_path: Path) -> Made:
    return Made(tmp_path / "made")


def test_an_image_is_what_was_noted_and_nothing_else(records: Made) -> None:
    records.note("a", "sha256:1", is_ours=True)

    assert records.has("a", "sha256:1")
    assert not records.has("a", "sha256:2")
    assert not records.has("b", "sha256:1")
    assert not records.has("a", None)
    assert not records.has("a", "a")
    assert not records.has("a", "ours")


def test_one_key_may_have_images_in_several_engines(records: Made) -> None:
    for number in ("1", "2", "1"):
        records.note("a", f"sha256:{number}", is_ours=False)

    assert records.has("a", "sha256:1")
    assert records.has("a", "sha256:2")
    assert [key for key, _ in records.notes()] == ["a"]


def test_what_was_ours_once_stays_so_and_what_was_found_may_become_so(records: Made) -> None:
    assert records.is_ours("a") is None
    records.note("a", "sha256:1", is_ours=False)
    assert records.is_ours("a") is False
    records.note("a", "sha256:1", is_ours=True)
    records.note("a", "sha256:1", is_ours=False)
    assert records.is_ours("a") is True
    records.forget("a")
    assert records.is_ours("a") is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"ours", b"other\nours\nsha256:1\n"])
def test_a_damaged_note_says_nothing(records: Made, content: bytes) -> None:
    records.note("a", "sha256:1", is_ours=True)
    ((_, file),) = records.notes()
    file.write_bytes(content)

    assert not records.has("a", "sha256:1")
    assert records.is_ours("a") is None
