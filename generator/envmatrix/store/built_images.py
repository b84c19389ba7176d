"""Records of the contents of built and pulled images, by fingerprint: a plan compares with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envmatrix.files import readable_text, write_whole
from envmatrix.machine.cache import cache_directory

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BuildRecords:
    root: Path

    @classmethod
    def of_user(cls) -> BuildRecords:
        return cls(cache_directory() / "built")

    def path(self, fingerprint: str) -> Path:
        return self.root / fingerprint[:2] / fingerprint

    def find(self, fingerprint: str) -> str | None:
        """Return the record of an image, as JSON; None without one. A fingerprint may be the label
        of any image."""
        if not _FINGERPRINT.fullmatch(fingerprint):
            return None
        return readable_text(self.path(fingerprint)) or None

    def records(self) -> Iterator[tuple[str, str]]:
        """Yield the fingerprint and the record of each image."""
        for file in sorted(self.root.glob("*/*")):
            yield file.name, readable_text(file)

    def keep(self, fingerprint: str, record: str) -> None:
        write_whole(self.path(fingerprint), record.encode())
