"""Records of the images that were built or pulled on this machine: their contents, which a plan
compares with, and the engine's ids.

A label is only a claim, and derived images inherit it; an id is a hash of the whole image.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from envmatrix.files import readable_text, write_whole
from envmatrix.machine.cache import cache_directory
from envmatrix.records import dataclass

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_OURS, _EXISTING = "ours", "found"


@dataclass(frozen=True)
class ImageRecords:
    """The records in `cache`. `key` is the fingerprint of an image, or the name of a base."""

    cache: Path

    @classmethod
    def of_user(cls) -> ImageRecords:
        return cls(cache_directory())

    def contents_file(self, fingerprint: str) -> Path:
        return self.cache / "built" / fingerprint[:2] / fingerprint

    def find_contents(self, fingerprint: str) -> str | None:
        """Return the contents of an image, as JSON; None without a record. A fingerprint may be the
        label of any image."""
        if not _FINGERPRINT.fullmatch(fingerprint):
            return None
        return readable_text(self.contents_file(fingerprint)) or None

    def all_contents(self) -> Iterator[tuple[str, str]]:
        """Yield the fingerprint and the contents of each image."""
        for file in sorted((self.cache / "built").glob("*/*")):
            yield file.name, readable_text(file)

    def keep_contents(self, fingerprint: str, contents: str) -> None:
        write_whole(self.contents_file(fingerprint), contents.encode())

    def has(self, key: str, image_id: str | None) -> bool:
        """Return whether the image with this id is recorded for `key`."""
        return image_id is not None and image_id in self._read(key)[2:]

    def is_ours(self, key: str) -> bool | None:
        """Return whether the engine had no such image before; None without a record."""
        lines = self._read(key)
        return lines[1] == _OURS if lines else None

    def note(self, key: str, image_id: str | None, *, is_ours: bool) -> None:
        """Record the id of the engine's image for `key`. A record that is ours stays so."""
        _, owner, *ids = self._read(key) or (key, _EXISTING)
        owner = _OURS if is_ours or owner == _OURS else _EXISTING
        lines = (key, owner, *dict.fromkeys([*ids, *filter(None, [image_id])]))
        write_whole(self._note(key), "".join(f"{line}\n" for line in lines).encode())

    def notes(self) -> Iterator[tuple[str, Path]]:
        """Yield each key with the file of its ids."""
        for file in sorted((self.cache / "made").glob("*")):
            if lines := _lines(file):
                yield lines[0], file

    def forget(self, key: str) -> None:
        self._note(key).unlink(missing_ok=True)

    def _note(self, key: str) -> Path:
        return self.cache / "made" / hashlib.sha256(key.encode()).hexdigest()

    def _read(self, key: str) -> tuple[str, ...]:
        lines = _lines(self._note(key))
        return lines if lines[:1] == (key,) else ()


def _lines(file: Path) -> tuple[str, ...]:
    """Return the lines of a note; empty where it is incomplete."""
    try:
        lines = tuple(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return ()
    return lines if len(lines) > 1 else ()
