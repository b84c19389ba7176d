"""Leases of devices between processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envmatrix.machine.leases import Owner, Queue, lease
from envmatrix.parallel import INTERRUPTION

# Takes a lease, says so, and holds it until its input ends.
HOLDER = """
import sys
from pathlib import Path
from envmatrix.machine.leases import lease
with lease(Path(sys.argv[1]), sys.argv[2:], "a test", lambda queue: print("waits", flush=True)):
    print("holds", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(directory: Path, *devices: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(directory), *devices]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe) as started:
        yield started
        started.kill()


def word_of(started: subprocess.Popen[str]) -> str:
    assert started.stdout
    return started.stdout.readline().strip()


def no_wait(queue: Queue) -> None:
    raise AssertionError(queue)


def test_a_lease_is_free_once_it_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with lease(tmp_path, ["gpu"], "a", no_wait):
            pass


def test_devices_are_leased_apart(tmp_path: Path) -> None:
    with lease(tmp_path, ["first"], "a", no_wait), lease(tmp_path, ["second"], "b", no_wait):
        pass


def test_who_waits_sees_who_is_before(tmp_path: Path) -> None:
    with process(tmp_path, "gpu") as holder:
        assert word_of(holder) == "holds"
        with process(tmp_path, "gpu") as second:
            assert word_of(second) == "waits"
            queues: list[Queue] = []

            def release(queue: Queue) -> None:
                queues.append(queue)
                for started in (holder, second):
                    assert started.stdin
                    started.stdin.close()

            with lease(tmp_path, ["gpu"], "c", release):
                pass
    (queue,) = queues
    assert [owner.process for owner in queue.owners] == [holder.pid, second.pid]
    assert queue.text(queue.owners[0].since + 90).startswith(
        f"process {holder.pid} (a test), which came 1 min 30 s ago, and 1 other before this one"
    )


@pytest.mark.parametrize("is_holder", [True, False])
def test_a_killed_process_holds_up_nobody(tmp_path: Path, is_holder: bool) -> None:
    with process(tmp_path, "gpu") as holder:
        assert word_of(holder) == "holds"
        with process(tmp_path, "gpu") as second:
            assert word_of(second) == "waits"
            os.kill((holder if is_holder else second).pid, signal.SIGKILL)
            if is_holder:
                assert word_of(second) == "holds"
            other = second if is_holder else holder
            assert other.stdin
            other.stdin.close()
            with lease(tmp_path, ["gpu"], "c", lambda _queue: None):
                assert len([file for file in (tmp_path).rglob("*") if file.name.isdecimal()]) == 1


def test_several_devices_in_any_order_do_not_block_each_other(tmp_path: Path) -> None:
    with process(tmp_path, "a", "b") as holder:
        assert word_of(holder) == "holds"
        with process(tmp_path, "b", "a") as second:
            assert word_of(second) == "waits"
            assert holder.stdin
            holder.stdin.close()
            assert word_of(second) == "holds"


def test_an_interruption_ends_the_wait(tmp_path: Path) -> None:
    with lease(tmp_path, ["gpu"], "a", no_wait):
        with (
            pytest.raises(KeyboardInterrupt),
            lease(tmp_path, ["gpu"], "b", lambda _queue: INTERRUPTION.set()),
        ):
            pass
        INTERRUPTION.clear()
    with lease(tmp_path, ["gpu"], "c", no_wait):
        pass


def test_a_ticket_that_others_wrote_to_is_no_owner_with_control_characters() -> None:
    owner = Owner(1, "\x1b[31mred\n", time.time())
    assert "\x1b" not in owner.text(time.time())
    assert Queue([]).text(0.0) == "another process"


@pytest.mark.parametrize("text", ["", "[]", "[1]", '["x", 1, 2]', "{", json.dumps([1, 2, "x"])])
def test_an_unreadable_ticket_is_waited_for_without_a_name(tmp_path: Path, text: str) -> None:
    with process(tmp_path, "gpu") as holder:
        assert word_of(holder) == "holds"
        (ticket,) = (file for file in tmp_path.rglob("*") if file.name.isdecimal())
        ticket.write_text(text)

        def release(queue: Queue) -> None:
            assert queue.text(0.0) == "another process"
            assert holder.stdin
            holder.stdin.close()

        with lease(tmp_path, ["gpu"], "c", release):
            pass
