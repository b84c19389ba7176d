from __future__ import annotations

import os
from pathlib import Path

import pytest

from envmatrix.store.built_images import BuildRecords

FINGERPRINT = "ab" * 32


@pytest.fixture
def records(tmp_path: Path) -> BuildRecords:
    return BuildRecords(tmp_path / "built")


def test_a_record_is_what_was_kept_last(records: BuildRecords) -> None:
    assert records.find(FINGERPRINT) is None
    for text in ("one", "two"):
        records.keep(FINGERPRINT, text)
        assert records.find(FINGERPRINT) == text


def test_all_records_are_told_by_their_fingerprints(records: BuildRecords) -> None:
    for digit in "ba":
        records.keep(digit * 64, digit)
    assert [*records.records()] == [("a" * 64, "a"), ("b" * 64, "b")]


@pytest.mark.parametrize("label", ["", "../secret", "ab" * 31, "AB" * 32, "/etc/passwd"])
def test_a_label_that_is_no_fingerprint_names_no_file(records: BuildRecords, label: str) -> None:
    records.root.mkdir()
    (records.root.parent / "secret").write_text("{}")
    assert records.find(label) is None


def test_a_record_that_cannot_be_read_is_none(records: BuildRecords) -> None:
    file = records.path(FINGERPRINT)
    file.parent.mkdir(parents=True)
    os.mkfifo(file)
    assert records.find(FINGERPRINT) is None
