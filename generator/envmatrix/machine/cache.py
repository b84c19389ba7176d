"""The cache directory of this user: locks between processes, and the repositories that use it, or a
part of it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from envmatrix.files import open_regular, write_whole
from envmatrix.machine.directories import user_directory
from envmatrix.parallel import INTERRUPTION

# The directory of the records of checkouts in a cache.
CHECKOUTS = "checkouts"
# The directory of the results of jobs in a cache.
JOBS = "jobs"


def cache_directory() -> Path:
    """Return `$ENVMATRIX_CACHE`, else the directory in the user's cache."""
    chosen = os.environ.get("ENVMATRIX_CACHE")
    return Path(chosen) if chosen else user_directory("XDG_CACHE_HOME", ".cache")


@contextmanager
def exclusive(file: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an advisory lock on `file`; the kernel releases it when the process ends. `on_wait` is
    called where another process holds it; an interruption ends the wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, _LOCK_FILE, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENXIO, "it is no regular file", str(file))
        if not _is_locked(descriptor):
            on_wait()
        while not _is_locked(descriptor):
            if INTERRUPTION.is_set:
                raise KeyboardInterrupt
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


# Never wait for a pipe, never follow a link.
_LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOOK_SECONDS = 0.05


def _is_locked(descriptor: int) -> bool:
    """Lock a file, if no other process has it; return whether this one has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def record_checkout(cache: Path, root: Path) -> None:
    """Record that the repository at `root` uses `cache`."""
    path = os.fsencode(root.resolve())
    file = cache / CHECKOUTS / _record_name(path)
    if not file.exists():
        write_whole(file, path)


def recorded_checkouts(cache: Path) -> Sequence[Path]:
    """Return the repositories that ever used `cache`, also those that no longer exist."""
    return sorted({root for _, root in _records(cache)})


def forget_checkout(cache: Path, root: Path) -> None:
    for file, recorded in _records(cache):
        if recorded == root:
            file.unlink()


def _records(cache: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files of records with their repositories. What else is in the directory, such as a
    pipe, is none: a record is an absolute path, and its hash is the name of the file."""
    for file in (cache / CHECKOUTS).glob("*"):
        if not stat.S_ISREG(file.lstat().st_mode):
            continue
        with open_regular(file) as handle:
            path = handle.read(_LONGEST_PATH + 1)
        if file.name == _record_name(path) and path.startswith(b"/"):
            yield file, Path(os.fsdecode(path))


def _record_name(path: bytes) -> str:
    return hashlib.sha256(path).hexdigest()[:24]


# PATH_MAX of Linux; longer paths cannot be opened.
_LONGEST_PATH = 4096
