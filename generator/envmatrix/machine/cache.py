"""The cache directory of this user: locks between processes, and the repositories that use it, or a
part of it."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from envmatrix.files import write_whole

# The directory of the records of checkouts in a cache.
CHECKOUTS = "checkouts"
# The directory of the results of jobs in a cache.
JOBS = "jobs"


def cache_directory() -> Path:
    """Return `$ENVMATRIX_CACHE`, else the platform's cache directory of this user."""
    chosen = os.environ.get("ENVMATRIX_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("envmatrix"))


@contextmanager
def exclusive(file: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an advisory lock on `file`; the kernel releases it when the process ends. `on_wait` is
    called where another process holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


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
