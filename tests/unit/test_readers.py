"""A few changed inputs for all that reads what others wrote; `nox -s hostile` has thousands."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.fuzzing import fuzzed
from tests.mutations import mutated
from tests.readers import Reader, readers

READERS = readers()
SEED, EACH = 2, 8


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_is_as_it_should_be_is_read(reader: Reader, tmp_path: Path) -> None:
    for number, example in enumerate(reader.examples):
        directory = tmp_path / str(number)
        directory.mkdir()
        reader.read(directory, example)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_was_changed_is_read_or_refused_with_a_message(reader: Reader, tmp_path: Path) -> None:
    assert fuzzed([reader], EACH, SEED, tmp_path) == []


def test_a_seed_gives_the_same_inputs_again() -> None:
    for example in (b'{"a": [1, {"b": "c"}]}', b"a: b\nc: [d]\n"):
        several = {
            mutated(example, random.Random(number))  # noqa: S311
            for number in range(50)
        }
        assert len(several) > 30
        assert mutated(example, random.Random(7)) == mutated(example, random.Random(7))  # noqa: S311


def test_a_reader_that_fails_in_another_way_is_found_with_its_input(tmp_path: Path) -> None:
    def read(_: Path, content: bytes) -> None:
        if b"1" not in content:
            raise KeyError("one")

    (first, *_) = fuzzed([Reader("numbers", [b"1"], read)], 50, SEED, tmp_path)
    assert "KeyError at test_readers.py" in first.what
    assert b"1" not in first.file.read_bytes()
