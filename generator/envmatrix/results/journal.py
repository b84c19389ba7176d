"""The journal of each run: lines in a file of its own, there from the first moment on.

A run writes here and nowhere else. Its journal becomes rows of the store afterwards, by whoever
gets to it first; so a store that is away or a run that is killed loses nothing. The writer holds
a lock on its file, which the kernel lets go of however the writer ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from envmatrix.results.records import Part, Record, Run, line_of, record_of

_SUFFIX = ".jsonl"


class Journal:
    """Where one run writes what it comes to."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle

    def write(self, *parts: Part) -> None:
        """On disk, whole, before this returns."""
        self._handle.write("".join(f"{line_of(part)}\n" for part in parts))
        self._handle.flush()
        os.fsync(self._handle.fileno())


@contextmanager
def begun(directory: Path, run: Run) -> Iterator[Journal]:
    """A journal for `run`, closed when the block ends; `replay` finds it from then on."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{run.id}{_SUFFIX}"
    scratch = file.with_suffix(".new")
    with scratch.open("x", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        journal = Journal(handle)
        journal.write(run)
        scratch.rename(file)  # under its name only when it is locked and says whose it is
        yield journal


def replay(directory: Path, add: Callable[[Record], None]) -> int:
    """Hand each run that has ended to `add`, oldest first, and forget it once that returns; how
    many. What `add` raises leaves that journal and those behind it where they are."""
    done = 0
    for file in sorted(directory.glob(f"*{_SUFFIX}"), key=_age):
        with _ended(file) as handle:
            if handle is None:
                continue
            record = record_of(handle)
            if record is None:  # a disk that lost its beginning: kept for whoever wants to look
                file.rename(file.with_suffix(".unreadable"))
                continue
            add(record)
            file.unlink()
            done += 1
    return done


def waiting(directory: Path) -> int:
    """How many journals are there, of runs that go on or have ended."""
    return sum(1 for _ in directory.glob(f"*{_SUFFIX}"))


def _age(file: Path) -> tuple[float, str]:
    try:
        return file.stat().st_mtime, file.name
    except FileNotFoundError:  # replayed by somebody else
        return 0.0, file.name


@contextmanager
def _ended(file: Path) -> Iterator[TextIO | None]:
    """The file of a run that has ended, locked; None for one that goes on or is gone."""
    try:
        handle = file.open("r+", encoding="utf-8", errors="replace")
    except FileNotFoundError:
        yield None
        return
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield handle if file.exists() else None
