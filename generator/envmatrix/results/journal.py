"""The journal of each run: lines in a file of its own, there from the first moment on.

A run writes here and nowhere else. Its journal becomes rows of the store afterwards, by whoever
gets to it first; so a store that is away or a run that is killed loses nothing. The writer holds
a lock on its file, which the kernel lets go of however the writer ends.

What is read may be by anybody who can write into the directory: only regular files of a limited
size are read, and one that is no journal is set aside so that it never delays another.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TextIO

from envmatrix.results.records import InvalidRecord, Part, Record, Run, line_of, record_of
from envmatrix.text import one_line

_SUFFIX = ".jsonl"
_SET_ASIDE = ".unreadable"

# More than any run writes, and little enough to hold in memory: bytes, characters and lines.
_LARGEST = 64 << 20
_LONGEST_LINE = 8 << 20
_MOST_LINES = 500_000
# A name set aside has at most these characters of the old one, so that it stays a valid name.
_KEPT_NAME = 40

# Never wait for a fifo, never follow a link.
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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


def replay(directory: Path, add: Callable[[Record], None], told: Callable[[str], None]) -> int:
    """Pass each run that has ended to `add`, oldest first, remove its journal once that returns,
    and return how many were passed. A journal that is invalid, or that `add` finds invalid, is set
    aside and `told` says so; whatever else `add` raises leaves that journal and the rest."""
    done = 0
    for file in sorted(directory.glob(f"*{_SUFFIX}"), key=_age):
        try:
            done += _replay_one(file, add)
        except InvalidRecord as error:
            told(_set_aside(file, str(error)))
    return done


def _replay_one(file: Path, add: Callable[[Record], None]) -> bool:
    """Whether the file was the journal of a run that has ended, and is stored now."""
    with _ended(file) as handle:
        if handle is None:
            return False
        record = record_of(_lines(handle))
        if record.run.id != file.name.removesuffix(_SUFFIX):
            raise InvalidRecord("its name is not the id of its run")
        add(record)
        file.unlink()
        return True


def waiting(directory: Path) -> int:
    """How many journals are there, of runs that go on or have ended."""
    return sum(1 for _ in directory.glob(f"*{_SUFFIX}"))


def _age(file: Path) -> tuple[float, str]:
    try:
        return file.lstat().st_mtime, file.name
    except FileNotFoundError:  # replayed by somebody else
        return 0.0, file.name


@contextmanager
def _ended(file: Path) -> Iterator[TextIO | None]:
    """The file of a run that has ended, locked; None for one that goes on or is gone."""
    try:
        descriptor = os.open(file, _OPEN)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:  # a directory, a link, a socket, a file of somebody else's
        raise InvalidRecord(f"it cannot be opened as a file: {error.strerror}") from error
    with os.fdopen(descriptor, "r", encoding="utf-8", errors="replace") as handle:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidRecord("it is no regular file")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if os.fstat(descriptor).st_size > _LARGEST:
            raise InvalidRecord(f"it is larger than {_LARGEST >> 20} MB")
        yield handle if file.exists() else None


def _lines(handle: TextIO) -> Iterator[str]:
    for number in count():
        line = handle.readline(_LONGEST_LINE + 1)
        if not line:
            return
        if len(line) > _LONGEST_LINE or number >= _MOST_LINES:
            raise InvalidRecord("it has too many lines, or one that is too long")
        yield line


def _set_aside(file: Path, reason: str) -> str:
    """Rename the file so that it is not read again, write the reason beside it, and return what
    people should know."""
    names = (f"{file.stem[:_KEPT_NAME]}{number or ''}{_SET_ASIDE}" for number in count())
    target = next(its for name in names if not os.path.lexists(its := file.with_name(name)))
    message = f"the record `{one_line(file.name)}` is invalid and was not stored: {reason}"
    try:
        file.rename(target)
        with target.with_suffix(".reason").open("x", encoding="utf-8", errors="replace") as handle:
            handle.write(f"{message}\n")
    except OSError as error:
        return f"{message}; it cannot be set aside: {error.strerror}"
    return f"{message}; it is kept as `{one_line(str(target))}`"
