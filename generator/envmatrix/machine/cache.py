"""The cache directory of this user, and locks between processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


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
