"""Unfinished locks: their results are not looked up again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from envmatrix.errors import EnvmatrixError
from envmatrix.files import write_whole
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.lock.model import Lock
from envmatrix.records import dataclass

# Older results may differ from those of a new `envmatrix lock`.
_LONGEST_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class UnfinishedLock:
    """The unfinished lock of a repository, by the previous lock and the upgraded packages."""

    file: Path

    @classmethod
    def of(
        cls, cache: Path, root: Path, text: str, upgraded: Sequence[str] | None
    ) -> UnfinishedLock:
        words = repr((str(root.resolve()), text, upgraded))
        return cls(cache / "begun" / hashlib.sha256(words.encode()).hexdigest()[:24])

    def find(self) -> Lock | None:
        try:
            if time.time() - self.file.stat().st_mtime > _LONGEST_SECONDS:
                return None
            return loads(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, EnvmatrixError):
            return None

    def keep(self, lock: Lock) -> None:
        write_whole(self.file, dumps(lock).encode())

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)
