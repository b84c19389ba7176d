"""The Dockerfiles of built images, by fingerprint, with which a plan names the changed packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envmatrix.files import write_whole
from envmatrix.machine.cache import cache_directory


@dataclass(frozen=True)
class Recipes:
    root: Path

    @classmethod
    def of_user(cls) -> Recipes:
        return cls(cache_directory() / "recipes")

    def path(self, fingerprint: str) -> Path:
        return self.root / fingerprint[:2] / fingerprint

    def find(self, fingerprint: str) -> str | None:
        try:
            return self.path(fingerprint).read_text(encoding="utf-8")
        except OSError:
            return None

    def keep(self, fingerprint: str, dockerfile: str) -> None:
        file = self.path(fingerprint)
        if not file.is_file():
            write_whole(file, dockerfile.encode())
