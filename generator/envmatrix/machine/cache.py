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

from envmatrix.files import write_whole
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
    path = str(root.resolve())
    file = cache / CHECKOUTS / hashlib.sha256(path.encode()).hexdigest()[:24]
    if not file.exists():
        write_whole(file, path.encode())


def recorded_checkouts(cache: Path) -> Sequence[Path]:
    """Return the repositories that ever used `cache`, also those that no longer exist."""
    files = (cache / CHECKOUTS).glob("*")
    return sorted(Path(file.read_text(encoding="utf-8")) for file in files)


def forget_checkout(cache: Path, root: Path) -> None:
    for file in (cache / CHECKOUTS).glob("*"):
        if file.read_text(encoding="utf-8") == str(root):
            file.unlink()
