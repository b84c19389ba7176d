from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.sessions import logs
from envmatrix.sessions.logs import Log


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LARGEST", 20)
    monkeypatch.setattr(logs, "_EXCERPT", 40)


def test_a_log_has_what_was_said(tmp_path: Path) -> None:
    log = Log(tmp_path / "a/b.log")
    log.add("one")
    log.add("two")
    log.close()
    log.close()
    assert (tmp_path / "a/b.log").read_text() == "one\ntwo\n"
    assert log.end == ("one", "two")
    assert log.excerpt() == "one\ntwo\n"


@pytest.mark.usefixtures("small")
def test_a_long_log_has_its_beginning_and_its_end(tmp_path: Path) -> None:
    log = Log(tmp_path / "b.log")
    for number in range(3000):
        log.add(f"{number:04d}")
    log.close()
    text = (tmp_path / "b.log").read_text()
    assert text.startswith("0000\n0001\n0002\n0003\n[... 996 lines left out ...]\n1000\n")
    assert text.endswith("2999\n")
    excerpt = log.excerpt()
    assert excerpt.startswith("0000\n0001\n")
    assert "bytes left out" in excerpt
    assert excerpt.endswith("2999\n")
