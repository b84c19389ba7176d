"""Leases of devices: one process at a time measures on each, in the order in which they came.

A lease is a ticket: a file with a number, locked by its process, in the directory of the device.
The holder has the lowest ticket that is locked. The kernel releases the locks of a process however
it ends, so one that is killed while it holds or waits holds up nobody; its ticket is removed by
those who come after. A ticket says who has it and since when, for people who wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from envmatrix.files import readable_text
from envmatrix.machine.cache import exclusive
from envmatrix.parallel import INTERRUPTION
from envmatrix.records import dataclass
from envmatrix.text import duration, number_of, one_line

_LOOK_SECONDS = 0.01
_DIGITS = 12
# Never follow a link, never wait for a pipe.
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRESENT = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has a ticket: a process, what it does, and since when, in seconds since 1970."""

    process: int
    work: str
    since: float

    def text(self, now: float) -> str:
        """Return who it is, and how long ago the ticket was taken."""
        age = duration(max(0.0, now - self.since))
        return f"process {self.process} ({one_line(self.work)}), which came {age} ago"


@dataclass(frozen=True, slots=True)
class Queue:
    """Those before somebody who waits: the holder, who comes first, and others."""

    owners: Sequence[Owner]

    def text(self, now: float) -> str:
        others = len(self.owners) - 1
        behind = f", and {number_of(others, 'other')} before this one" if others > 0 else ""
        return f"{self.owners[0].text(now)}{behind}" if self.owners else "another process"


@contextmanager
def lease(
    directory: Path, devices: Sequence[str], work: str, on_wait: Callable[[Queue], None]
) -> Iterator[None]:
    """Hold the leases of devices, by their names, in `directory`. All processes take several in the
    same order, so none waits for another one that waits for it. `on_wait` is called once for each
    device that others have; an interruption ends the wait."""
    with ExitStack() as stack:
        for device in sorted(set(devices)):
            name = hashlib.sha256(device.encode()).hexdigest()[:24]
            stack.enter_context(_ticket(directory / name, work, on_wait))
        yield


@contextmanager
def _ticket(directory: Path, work: str, on_wait: Callable[[Queue], None]) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    owner = Owner(os.getpid(), work, time.time())
    with exclusive(directory / "numbers.lock"):
        number = max((int(file.name) for file in _tickets(directory)), default=0) + 1
        file = directory / f"{number:0{_DIGITS}}"
        descriptor = os.open(file, _NEW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        os.write(descriptor, json.dumps([owner.process, owner.work, owner.since]).encode())
        has_waited = False
        while before := [ticket for ticket in _tickets(directory) if int(ticket.name) < number]:
            if not _is_held(before[-1]):
                before[-1].unlink(missing_ok=True)
                continue
            if not has_waited:
                on_wait(Queue([*filter(None, map(_owner, before))]))
                has_waited = True
            if INTERRUPTION.is_set:
                raise KeyboardInterrupt
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _tickets(directory: Path) -> Sequence[Path]:
    """Return the tickets in their order."""
    files = (file for file in directory.iterdir() if file.name.isdecimal())
    return sorted(files, key=lambda file: int(file.name))


def _is_held(ticket: Path) -> bool:
    """Return whether the process of a ticket is there."""
    try:
        descriptor = os.open(ticket, _PRESENT)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _owner(ticket: Path) -> Owner | None:
    """Return who has a ticket; None if it was not written to yet."""
    with suppress(ValueError, TypeError):
        process, work, since = json.loads(readable_text(ticket))
        return Owner(int(process), str(work), float(since))
    return None
