from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.results.examples import record, run

from envmatrix.results.journal import begun, replay, waiting
from envmatrix.results.records import End, Record
from envmatrix.sessions.outcomes import TestOutcome

ROOT = Path(__file__).parents[3]


def written(directory: Path, its: Record) -> None:
    with begun(directory, its.run) as journal:
        journal.write(*its.steps, *its.outcomes, its.end)


def test_what_is_written_is_replayed_once(tmp_path: Path) -> None:
    its = record(1, {"a": "passed"})
    written(tmp_path, its)
    found: list[Record] = []
    assert replay(tmp_path, found.append) == 1
    assert found == [its]
    assert replay(tmp_path, found.append) == 0
    assert waiting(tmp_path) == 0


def test_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    found: list[Record] = []
    with begun(tmp_path, run()) as journal:
        assert replay(tmp_path, found.append) == 0
        assert waiting(tmp_path) == 1
        journal.write(End("passed", 1.0))
    assert replay(tmp_path, found.append) == 1


def test_what_cannot_be_stored_stays_with_all_behind_it(tmp_path: Path) -> None:
    for number in (1, 2):
        written(tmp_path, record(number))

    def away(_: Record) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        replay(tmp_path, away)
    assert waiting(tmp_path) == 2
    assert replay(tmp_path, lambda _: None) == 2


def test_a_journal_without_its_beginning_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "lost.jsonl").write_text("\0\0\0")
    assert replay(tmp_path, lambda _: None) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["lost.unreadable"]


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.unit.results.examples import run
from envmatrix.results.journal import begun
from envmatrix.sessions.outcomes import TestOutcome
with begun(Path(sys.argv[1]), run()) as journal:
    journal.write(TestOutcome("a", "passed", 1.0))
    os.kill(os.getpid(), 9)
"""


def test_a_run_that_is_killed_is_there_as_far_as_it_came(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(ROOT)], env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL
    found: list[Record] = []
    assert replay(tmp_path, found.append) == 1
    assert found[0].end.state == "killed"
    assert found[0].outcomes == (TestOutcome("a", "passed", 1.0),)
