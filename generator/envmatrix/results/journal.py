"""The journal of each run: a file of lines, created when the run starts.

A run writes only to its journal. The next command stores it afterwards, so that neither an
unreachable store nor a killed run loses results. The writer holds a lock on its file, which the
kernel releases however the writer ends.

Anybody who can write into the directory may have written a journal: only regular files of a limited
size are read, and an invalid one is set aside so that it never delays another.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TextIO

from envmatrix.files import write_whole
from envmatrix.results.records import InvalidRecord, Part, Record, Run, line_of, record_of
from envmatrix.text import one_line

_SUFFIX = ".jsonl"
_SET_ASIDE = ".unreadable"

# More than any run writes, and small enough for memory: bytes, characters and lines.
LARGEST = 64 << 20
_LONGEST_LINE = 8 << 20
_MOST_LINES = 500_000
# The most journals that are stored at once, and their bytes.
MOST_AT_ONCE = 50
_LARGEST_AT_ONCE = 8 << 20
# The most characters of its old name in that of a file set aside, so that the name stays valid.
_MOST_NAME_CHARACTERS = 40

# Never wait for a fifo, never follow a link.
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Journal:
    """The open journal of one run, and its `parts` so far."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle
        self.parts: list[Part] = []

    def write(self, *parts: Part) -> None:
        """Append `parts` and sync them to disk."""
        self.parts += parts
        self._handle.write("".join(f"{line_of(part)}\n" for part in parts))
        self._handle.flush()
        os.fsync(self._handle.fileno())


@contextmanager
def open_journal(directory: Path, run: Run) -> Iterator[Journal]:
    """Create the journal of `run` in an existing directory, closed when the block ends; `replay`
    stores it from then on."""
    file = directory / f"{run.id}{_SUFFIX}"
    scratch = file.with_suffix(".new")
    with scratch.open("x", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        journal = Journal(handle)
        journal.write(run)
        scratch.rename(file)  # under its final name only once it is locked and starts with its run
        yield journal


def write_ended(directory: Path, record: Record) -> None:
    """Write the journal of a run that has ended into an existing directory; `replay` stores it."""
    text = "".join(f"{line_of(part)}\n" for part in record.parts)
    write_whole(directory / f"{record.run.id}{_SUFFIX}", text.encode())


def replay(directory: Path, add: Callable[..., None], warn: Callable[[str], None]) -> int:
    """Pass the runs that have ended to `add`, oldest first and several at once, and remove their
    journals once that returns; return their number. A journal that raises InvalidRecord, also in
    `add`, is set aside and passed to `warn` as a message; other errors of `add` leave the journals
    passed to it and the rest."""
    files = sorted(directory.glob(f"*{_SUFFIX}"), key=_age)
    return sum(_replay_batch(batch, add, warn) for batch in _batches(files))


def _batches(files: Iterable[Path]) -> Iterator[list[Path]]:
    """Yield the files in groups that are small enough for one transaction."""
    batch: list[Path] = []
    size = 0
    for file in files:
        size += _status(file)[0]
        if batch and (len(batch) == MOST_AT_ONCE or size > _LARGEST_AT_ONCE):
            yield batch
            batch, size = [], _status(file)[0]
        batch.append(file)
    if batch:
        yield batch


def _replay_batch(
    files: Sequence[Path], add: Callable[..., None], warn: Callable[[str], None]
) -> int:
    records: dict[Path, Record] = {}
    with ExitStack() as locks:
        for file in files:
            try:
                handle = locks.enter_context(_lock_ended(file))
                if handle is not None:
                    records[file] = _record(handle, file)
            except InvalidRecord as error:
                warn(_set_aside(file, str(error)))
        if not records:
            return 0
        try:
            add(*records.values())
        except InvalidRecord as error:
            if len(files) == 1:
                warn(_set_aside(files[0], str(error)))
                return 0
        else:
            for file in records:
                file.unlink()
            return len(records)
    return sum(_replay_batch([file], add, warn) for file in records)


def _record(handle: TextIO, file: Path) -> Record:
    record = record_of(_lines(handle))
    if record.run.id != file.name.removesuffix(_SUFFIX):
        raise InvalidRecord("its name is not the id of its run")
    return record


def count_journals(directory: Path) -> int:
    """Return the number of journals, of runs that are in progress or have ended."""
    return sum(1 for _ in directory.glob(f"*{_SUFFIX}"))


def _age(file: Path) -> tuple[float, str]:
    _, modified = _status(file)
    return modified, file.name


def _status(file: Path) -> tuple[int, float]:
    """Return the size of a file and when it was modified."""
    try:
        status = file.lstat()
    except FileNotFoundError:  # replayed by another process
        return 0, 0.0
    return status.st_size, status.st_mtime


@contextmanager
def _lock_ended(file: Path) -> Iterator[TextIO | None]:
    """Open and lock the journal of a run that has ended; None if it is in progress or removed."""
    try:
        descriptor = os.open(file, _OPEN)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:  # a directory, a link, a socket, another user's file
        raise InvalidRecord(f"it cannot be opened as a file: {error.strerror}") from error
    with os.fdopen(descriptor, "r", encoding="utf-8", errors="replace") as handle:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidRecord("it is not a regular file")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield handle if file.exists() else None


def _lines(handle: TextIO) -> Iterator[str]:
    """Yield the lines of a journal; raise InvalidRecord if it is larger than any run's."""
    if os.fstat(handle.fileno()).st_size > LARGEST:
        raise InvalidRecord(f"it is larger than {LARGEST >> 20} MB")
    lines = iter(partial(handle.readline, _LONGEST_LINE + 1), "")
    for number, line in enumerate(lines):
        if len(line) > _LONGEST_LINE or number >= _MOST_LINES:
            raise InvalidRecord("it has too many lines, or one that is too long")
        yield line


def _set_aside(file: Path, reason: str) -> str:
    """Rename the file so that it is not read again, write the reason beside it, and return a
    message for users."""
    names = (f"{file.stem[:_MOST_NAME_CHARACTERS]}{number or ''}{_SET_ASIDE}" for number in count())
    target = next(path for name in names if not os.path.lexists(path := file.with_name(name)))
    message = f"the record `{one_line(file.name)}` is invalid and was not stored: {reason}"
    try:
        file.rename(target)
        with target.with_suffix(".reason").open("x", encoding="utf-8", errors="replace") as handle:
            handle.write(f"{message}\n")
    except OSError as error:
        return f"{message}; it cannot be set aside: {error.strerror}"
    return f"{message}; it is kept as `{one_line(str(target))}`"
