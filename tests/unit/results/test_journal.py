from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.unit.results.examples import collector, record, run

from envmatrix.results.journal import count_journals, open_journal, replay
from envmatrix.results.records import End, InvalidRecord, Record, line_of
from envmatrix.sessions.outcomes import TestOutcome

ROOT = Path(__file__).parents[3]


def write_journal(directory: Path, entry: Record) -> None:
    with open_journal(directory, entry.run) as journal:
        journal.write(*entry.steps, *entry.outcomes, entry.end)


def test_what_is_written_is_replayed_once(tmp_path: Path) -> None:
    entry = record(1, {"a": "passed"})
    write_journal(tmp_path, entry)
    records: list[Record] = []
    replay(tmp_path, collector(records), print)
    replay(tmp_path, collector(records), print)
    assert records == [entry]
    assert count_journals(tmp_path) == 0


def test_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    records: list[Record] = []
    with open_journal(tmp_path, run()) as journal:
        replay(tmp_path, collector(records), print)
        assert records == []
        assert count_journals(tmp_path) == 1
        journal.write(End("passed", 1.0))
    replay(tmp_path, collector(records), print)
    assert len(records) == 1


def test_what_cannot_be_stored_stays_with_all_behind_it(tmp_path: Path) -> None:
    for number in (1, 2):
        write_journal(tmp_path, record(number))

    def away(*_: Record) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        replay(tmp_path, away, print)
    assert count_journals(tmp_path) == 2
    records: list[Record] = []
    replay(tmp_path, collector(records), print)
    assert records == [record(1), record(2)]


def test_a_journal_without_its_beginning_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "lost.jsonl").write_text("\0\0\0")
    replay(tmp_path, lambda *_: None, print)
    assert {file.name for file in tmp_path.iterdir()} == {"lost.unreadable", "lost.reason"}


def started(**changes: object) -> str:
    """Return the first line of a journal named `bad`, with other values."""
    row = {**json.loads(line_of(run()))["run"], "id": "bad"}
    return json.dumps({"run": row | changes})


def outcome(**changes: object) -> str:
    row = {"name": "t", "state": "passed", "seconds": 1.0}
    return f"{started()}\n{json.dumps({'outcome': row | changes})}\n"


def link_to_a_file(file: Path) -> None:
    target = file.with_name("target")
    target.write_text("its owner's")
    file.symlink_to(target)


def socket_at(file: Path) -> None:
    descriptor = os.open(file.parent, os.O_DIRECTORY)  # a path of a socket has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{descriptor}/{file.name}")
    os.close(descriptor)


def sparse(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 40)


NO_JOURNALS: Mapping[str, Callable[[Path], object] | str] = {
    "a directory": Path.mkdir,
    "a fifo": os.mkfifo,
    "a link to a file": link_to_a_file,
    "a link to nothing": lambda file: file.symlink_to("nowhere"),
    "a link to itself": lambda file: file.symlink_to(file.name),
    "a link to a device": lambda file: file.symlink_to("/dev/zero"),
    "a socket": socket_at,
    "a terabyte": sparse,
    "not UTF-8": lambda file: file.write_bytes(b"\xff\xfe\x80" * 9),
    "empty": "",
    "brackets": "[" * 200_000,
    "brackets in a field": started()[:-2] + ', "host": ' + "[" * 200_000,
    "a long line": '{"run": "' + "x" * (9 << 20) + '"}',
    "a list": "[1, 2]",
    "a number": "7",
    "many digits": started()[:-2] + f', "started": {"9" * 5000}}}}}',
    "an unknown kind": started() + '\n{"surprise": {}}\n',
    "an unknown field": started(version=2),
    "a list for a name": started(library=["a"]),
    "a number for a name": started(cell=7),
    "a table for a revision": started(revision={"id": {}, "branch": "", "committed": None}),
    "no revision": started(revision=None),
    "a day too late": started(started=1e15),
    "a number too large": started(started=10**400),
    "another's id": started(id="other"),
    "an id that leads outside": started(id="../../bad"),
    "two beginnings": f"{started()}\n{started()}\n",
    "a state": outcome(state="fine"),
    "NaN": outcome(seconds=float("nan")),
    "infinity": outcome(seconds=float("inf")),
    "a text for a number": outcome(seconds="1"),
    "a flag for a number": outcome(attempts=True),
    "attempts too many": outcome(attempts=2**40),
    "no field": started() + '\n{"outcome": {}}\n',
}


@pytest.mark.parametrize("kind", NO_JOURNALS)
def test_what_is_no_journal_is_told_once_and_delays_nobody(tmp_path: Path, kind: str) -> None:
    bad = tmp_path / "bad.jsonl"
    write = NO_JOURNALS[kind]
    if isinstance(write, str):
        bad.write_text(write)
    else:
        write(bad)
    os.utime(bad, (0, 0), follow_symlinks=False)
    write_journal(tmp_path, record(1))
    stored: list[Record] = []
    messages: list[str] = []

    replay(tmp_path, collector(stored), messages.append)
    replay(tmp_path, collector(stored), messages.append)

    assert stored == [record(1)]
    (message,) = messages
    assert "the record `bad.jsonl` is invalid" in message
    assert os.path.lexists(tmp_path / "bad.unreadable")
    assert message.startswith((tmp_path / "bad.reason").read_text().strip())
    if kind == "a link to a file":
        assert (tmp_path / "target").read_text() == "its owner's"


def test_a_record_that_the_store_cannot_hold_is_set_aside(tmp_path: Path) -> None:
    for number in (1, 2):
        write_journal(tmp_path, record(number))
    stored: list[Record] = []
    messages: list[str] = []

    def add(*records: Record) -> None:
        if any(entry.run.started == 1 for entry in records):
            raise InvalidRecord("the store does not take it")
        stored.extend(records)

    replay(tmp_path, add, messages.append)
    assert stored == [record(2)]
    assert len(messages) == 1


def test_journals_are_stored_several_at_once(tmp_path: Path) -> None:
    for number in range(120):
        write_journal(tmp_path, record(number))
    batches: list[int] = []
    assert replay(tmp_path, lambda *records: batches.append(len(records)), print) == 120
    assert batches == [50, 50, 20]
    assert count_journals(tmp_path) == 0


def test_large_journals_are_stored_one_by_one(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_journal(tmp_path, record(number, message="m" * (5 << 20)))
    batches: list[int] = []
    assert replay(tmp_path, lambda *records: batches.append(len(records)), print) == 3
    assert batches == [1, 1, 1]


def test_a_name_of_any_length_and_kind_can_be_set_aside(tmp_path: Path) -> None:
    for name in ("n" * 249, "new\nline", "\x1b[31mred", "\udcff", ".." + "x", "bad", "bad.again"):
        (tmp_path / f"{name}.jsonl").touch()
    (tmp_path / "bad.unreadable").mkdir()
    (tmp_path / "bad.reason").symlink_to("elsewhere")
    messages: list[str] = []

    replay(tmp_path, lambda *_: None, messages.append)

    assert len(messages) == 7
    assert all(message.count("\n") == 0 and message.isprintable() for message in messages)
    assert count_journals(tmp_path) == 0
    assert not (tmp_path / "elsewhere").exists()


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.unit.results.examples import run
from envmatrix.results.journal import open_journal
from envmatrix.sessions.outcomes import TestOutcome
with open_journal(Path(sys.argv[1]), run()) as journal:
    journal.write(TestOutcome("a", "passed", 1.0))
    os.kill(os.getpid(), 9)
"""


def test_a_run_that_is_killed_is_there_as_far_as_it_came(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(ROOT)], env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL
    records: list[Record] = []
    replay(tmp_path, collector(records), print)
    assert records[0].end.state == "killed"
    assert records[0].outcomes == (TestOutcome("a", "passed", 1.0),)
