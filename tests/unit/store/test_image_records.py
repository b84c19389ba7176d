from __future__ import annotations

import os
from pathlib import Path

import pytest

from envmatrix.store.image_records import ImageRecords

FINGERPRINT = "ab" * 32


@pytest.fixture
def records(tmp_path: Path) -> ImageRecords:
    return ImageRecords(tmp_path)


def test_an_image_is_what_was_noted_and_nothing_else(records: ImageRecords) -> None:
    records.note("a", "sha256:1", is_ours=True)

    assert records.has("a", "sha256:1")
    assert not records.has("a", "sha256:2")
    assert not records.has("b", "sha256:1")
    assert not records.has("a", None)
    assert not records.has("a", "a")
    assert not records.has("a", "ours")


def test_one_key_may_have_images_in_several_engines(records: ImageRecords) -> None:
    for number in ("1", "2", "1"):
        records.note("a", f"sha256:{number}", is_ours=False)

    assert records.has("a", "sha256:1")
    assert records.has("a", "sha256:2")
    assert [key for key, _ in records.notes()] == ["a"]


def test_what_was_ours_once_stays_so_and_what_was_found_may_become_so(
    records: ImageRecords,
) -> None:
    assert records.is_ours("a") is None
    records.note("a", "sha256:1", is_ours=False)
    assert records.is_ours("a") is False
    records.note("a", "sha256:1", is_ours=True)
    records.note("a", "sha256:1", is_ours=False)
    assert records.is_ours("a") is True
    records.forget("a")
    assert records.is_ours("a") is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"ours", b"other\nours\nsha256:1\n"])
def test_a_damaged_note_says_nothing(records: ImageRecords, content: bytes) -> None:
    records.note("a", "sha256:1", is_ours=True)
    ((_, file),) = records.notes()
    file.write_bytes(content)

    assert not records.has("a", "sha256:1")
    assert records.is_ours("a") is None


def test_a_record_is_what_was_kept_last(records: ImageRecords) -> None:
    assert records.find_contents(FINGERPRINT) is None
    for text in ("one", "two"):
        records.keep_contents(FINGERPRINT, text)
        assert records.find_contents(FINGERPRINT) == text


def test_all_records_are_told_by_their_fingerprints(records: ImageRecords) -> None:
    for digit in "ba":
        records.keep_contents(digit * 64, digit)
    assert [*records.all_contents()] == [("a" * 64, "a"), ("b" * 64, "b")]


@pytest.mark.parametrize("label", ["", "../secret", "ab" * 31, "AB" * 32, "/etc/passwd"])
def test_a_label_that_is_no_fingerprint_names_no_file(records: ImageRecords, label: str) -> None:
    (records.cache / "built").mkdir()
    (records.cache / "secret").write_text("{}")
    assert records.find_contents(label) is None


def test_a_record_that_cannot_be_read_is_none(records: ImageRecords) -> None:
    file = records.contents_file(FINGERPRINT)
    file.parent.mkdir(parents=True)
    os.mkfifo(file)
    assert records.find_contents(FINGERPRINT) is None
