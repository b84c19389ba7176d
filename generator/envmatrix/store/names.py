"""Names that the engine has for an image only while that is moved to or from a registry: noted, so
that those of a process that was killed are taken away by the next one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envmatrix.files import write_whole
from envmatrix.store.artifacts import exclusive


@contextmanager
def noted(cache: Path, name: str) -> Iterator[None]:
    """Have a note of `name` for as long as the image may have it."""
    note = _directory(cache) / hashlib.sha256(name.encode()).hexdigest()
    with exclusive(_lock(cache, note)):
        write_whole(note, name.encode())
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def left(cache: Path) -> Iterator[str]:
    """The names that nobody took away: the note of each is gone when the next one is asked for."""
    for note in sorted(_directory(cache).glob("*")):
        with suppress(BlockingIOError), exclusive(_lock(cache, note), _busy):
            name = note.read_text(encoding="utf-8") if note.is_file() else ""
            if name:
                yield name
            note.unlink(missing_ok=True)


def _directory(cache: Path) -> Path:
    """That of the engine in use: a cache may be shared by several."""
    engine = os.environ.get("DOCKER_HOST", "")
    return cache / "names" / hashlib.sha256(engine.encode()).hexdigest()[:24]


def _lock(cache: Path, note: Path) -> Path:
    return cache / "locks" / f"name-{note.name}"


def _busy() -> None:
    raise BlockingIOError
