"""A results store that the user may read, but not write to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.unit.results.examples import record

from envmatrix.errors import LookupFailed
from envmatrix.results import tables
from envmatrix.results.database import connect, connect_read_only
from envmatrix.results.location import Location

NOBODY = 65534


@contextmanager
def another_user() -> Iterator[None]:
    """Be a user who may not write to what root owns; nobody needs that who is not root."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def store() -> Iterator[Path]:
    """A store in a directory that other users can read."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        store = directory / "a b%20?.sqlite"
        with connect(store) as database:
            database.add(record())
        yield store
        directory.chmod(0o755)


def read_as_another_user(store: Path) -> tuple[int, list[str]]:
    """Return the number of runs, and the warnings."""
    location, warnings = Location(store.parent, store), list[str]()
    with (
        another_user(),
        location.open_store(warnings.append) as database,
        database.reading() as connection,
    ):
        location.replay(database, warnings.append)
        runs = connection.scalar(sa.select(sa.func.count()).select_from(tables.runs))
    return int(runs or 0), warnings


@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_a_store_in_a_read_only_directory_is_read(store: Path, mode: int) -> None:
    store.chmod(mode)
    store.parent.chmod(0o555)
    assert read_as_another_user(store) == (1, [f"the results store `{store}` is read-only"])


def test_a_read_only_store_is_read_with_what_a_writer_just_added(store: Path) -> None:
    store.chmod(0o444)
    with connect(store) as database:
        database.add(record(2))
        assert read_as_another_user(store)[0] == 2


def test_runs_that_are_not_stored_are_counted(store: Path) -> None:
    journals = store.parent / "journals"
    journals.mkdir()
    (journals / "run.jsonl").write_text("")
    store.parent.chmod(0o555)
    _, (warning,) = read_as_another_user(store)
    assert warning.endswith("is read-only, and lacks 1 recorded run")


def test_a_read_only_store_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "old.sqlite").write_bytes(b"")
    with (
        pytest.raises(LookupFailed, match="of another version") as caught,
        connect_read_only(tmp_path / "old.sqlite"),
    ):
        pass
    assert "copy it" in str(caught.value.hint)
