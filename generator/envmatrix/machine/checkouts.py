"""Records of the repositories that use the cache of this machine, or a part of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from envmatrix.files import write_whole

# The directory of the notes in a cache.
NOTES = "checkouts"


def remember(cache: Path, root: Path) -> None:
    """Record that the repository at `root` uses `cache`."""
    path = str(root.resolve())
    file = _directory(cache) / hashlib.sha256(path.encode()).hexdigest()[:24]
    if not file.exists():
        write_whole(file, path.encode())


def recorded_checkouts(cache: Path) -> Sequence[Path]:
    """Return the repositories that ever used `cache`, also those that no longer exist."""
    files = sorted(_directory(cache).glob("*"))
    return sorted(Path(file.read_text(encoding="utf-8")) for file in files)


def forget(cache: Path, root: Path) -> None:
    for file in _directory(cache).glob("*"):
        if file.read_text(encoding="utf-8") == str(root):
            file.unlink()


def _directory(cache: Path) -> Path:
    return cache / NOTES
