"""Perforce's own client library, against a fake server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fake_perforce import serving

from envmatrix.errors import ConfigurationError, LookupFailed
from envmatrix.vcs import perforce

FIRST = {"//depot/lib/a.c": (1, b"a\r\n\0"), "//depot/lib/d/b": (1, b""), "//depot/x": (1, b"x")}
DEPOT = {
    7: FIRST,
    8: {**FIRST, "//depot/lib/a.c": (2, b"changed")},
    9: {"//depot/lib/../out": (1, b"")},
}


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with serving(DEPOT) as port:
        for name, value in {"P4PORT": port, "P4USER": "me", "HOME": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        yield


def files_of(directory: Path) -> dict[str, bytes]:
    files = (file for file in directory.rglob("*") if file.is_file())
    return {file.relative_to(directory).as_posix(): file.read_bytes() for file in files}


def test_a_depot_path_is_written_as_it_was_locked(tmp_path: Path) -> None:
    digest = perforce.depot("//depot/lib", "7")
    perforce.sync("//depot/lib", "7", digest, tmp_path / "tree")
    assert files_of(tmp_path / "tree") == {"a.c": b"a\r\n\0", "d/b": b""}
    later = perforce.depot("//depot/lib", "8")
    perforce.sync("//depot/lib", "8", later, tmp_path / "later")
    assert files_of(tmp_path / "later")["a.c"] == b"changed"


def test_another_content_than_was_locked_is_refused(tmp_path: Path) -> None:
    digest = perforce.depot("//depot/lib", "7")
    with pytest.raises(LookupFailed, match="is not what was locked"):
        perforce.sync("//depot/lib", "8", digest, tmp_path / "tree")


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    digest = perforce.depot("//depot/lib", "9")
    with pytest.raises(LookupFailed, match="has a file outside"):
        perforce.sync("//depot/lib", "9", digest, tmp_path / "tree")


def test_what_the_server_says_is_told() -> None:
    with pytest.raises(LookupFailed) as failed:
        perforce.depot("//depot/none", "7")
    assert any("no such file(s)" in line for line in failed.value.details)


def test_a_server_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P4PORT", "127.0.0.1:1")
    with pytest.raises(LookupFailed, match="did not answer") as failed:
        perforce.depot("//depot/lib", "7")
    assert "P4PORT" in str(failed.value.hint)


def test_without_its_client_perforce_is_told_how_to_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "P4", None)
    with pytest.raises(ConfigurationError) as failed:
        perforce.depot("//depot/lib", "7")
    assert "envmatrix[perforce]" in str(failed.value.problems[0].hint)
