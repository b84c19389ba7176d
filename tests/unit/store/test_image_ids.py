from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.store.image_ids import Made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "made")


def test_an_image_is_what_was_noted_and_nothing_else(made: Made) -> None:
    made.note("a", "sha256:1", is_ours=True)

    assert made.has("a", "sha256:1")
    assert not made.has("a", "sha256:2")
    assert not made.has("b", "sha256:1")
    assert not made.has("a", None)
    assert not made.has("a", "a")
    assert not made.has("a", "ours")


def test_one_key_may_have_images_in_several_engines(made: Made) -> None:
    for number in ("1", "2", "1"):
        made.note("a", f"sha256:{number}", is_ours=False)

    assert made.has("a", "sha256:1")
    assert made.has("a", "sha256:2")
    assert [key for key, _ in made.notes()] == ["a"]


def test_what_was_ours_once_stays_so_and_what_was_found_may_become_so(made: Made) -> None:
    assert made.is_ours("a") is None
    made.note("a", "sha256:1", is_ours=False)
    assert made.is_ours("a") is False
    made.note("a", "sha256:1", is_ours=True)
    made.note("a", "sha256:1", is_ours=False)
    assert made.is_ours("a") is True
    made.forget("a")
    assert made.is_ours("a") is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"ours", b"other\nours\nsha256:1\n"])
def test_a_damaged_note_says_nothing(made: Made, content: bytes) -> None:
    made.note("a", "sha256:1", is_ours=True)
    ((_, file),) = made.notes()
    file.write_bytes(content)

    assert not made.has("a", "sha256:1")
    assert made.is_ours("a") is None
