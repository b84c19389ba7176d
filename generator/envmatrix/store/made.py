"""What this cache had the engine make or fetch: the engine's ids, by what identifies an image.

A label is only a claim, and an image that is derived from another one inherits it; an id is a hash
of all that an image is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envmatrix.files import write_whole
from envmatrix.store.artifacts import cache_directory

_OURS, _FOUND = "ours", "found"


@dataclass(frozen=True)
class Made:
    """`key` is the fingerprint of an image, or the name of a base."""

    root: Path

    @classmethod
    def of_user(cls) -> Made:
        return cls(cache_directory() / "made")

    def has(self, key: str, image_id: str | None) -> bool:
        """Whether the image with this id was made of what `key` stands for."""
        return image_id is not None and image_id in self._read(key)[2:]

    def is_ours(self, key: str) -> bool | None:
        """Whether the engine had no such image before; None where nothing is noted."""
        lines = self._read(key)
        return lines[1] == _OURS if lines else None

    def note(self, key: str, image_id: str | None, *, is_ours: bool) -> None:
        """Note that the engine's image with this id is the one of `key`. What was ours stays so."""
        _, owner, *ids = self._read(key) or (key, _FOUND)
        owner = _OURS if is_ours or owner == _OURS else _FOUND
        lines = (key, owner, *dict.fromkeys([*ids, *filter(None, [image_id])]))
        write_whole(self._file(key), "".join(f"{line}\n" for line in lines).encode())

    def notes(self) -> Iterator[tuple[str, Path]]:
        """Each key with the file that has its note."""
        for file in sorted(self.root.glob("*")):
            if lines := _lines(file):
                yield lines[0], file

    def forget(self, key: str) -> None:
        self._file(key).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.root / hashlib.sha256(key.encode()).hexdigest()

    def _read(self, key: str) -> tuple[str, ...]:
        lines = _lines(self._file(key))
        return lines if lines[:1] == (key,) else ()


def _lines(file: Path) -> tuple[str, ...]:
    """The lines of a note; none where it is no whole one."""
    try:
        lines = tuple(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return ()
    return lines if len(lines) > 1 else ()
