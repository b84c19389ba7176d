"""Temporary names of images during a push or pull: recorded, so that the next process removes those
of one that was killed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envmatrix.files import write_whole
from envmatrix.machine.cache import exclusive


@contextmanager
def record_name(cache: Path, name: str) -> Iterator[None]:
    """Record `name` for as long as an image may have it."""
    note = _directory(cache) / hashlib.sha256(name.encode()).hexdigest()
    with exclusive(_lock(cache, note)):
        write_whole(note, name.encode())
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def leftover_names(cache: Path) -> Iterator[str]:
    """Yield names of killed processes; the record of each is removed when the iteration goes on."""
    for note in sorted(_directory(cache).glob("*")):
        with suppress(BlockingIOError), exclusive(_lock(cache, note), _busy):
            name = note.read_text(encoding="utf-8") if note.is_file() else ""
            if name:
                yield name
            note.unlink(missing_ok=True)


def _directory(cache: Path) -> Path:
    """Return the directory of the engine in use: several may share a cache."""
    engine = os.environ.get("DOCKER_HOST", "")
    return cache / "names" / hashlib.sha256(engine.encode()).hexdigest()[:24]


def _lock(cache: Path, note: Path) -> Path:
    return cache / "locks" / f"name-{note.name}"


def _busy() -> None:
    raise BlockingIOError
