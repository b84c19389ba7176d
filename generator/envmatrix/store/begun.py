"""Locks that were begun and not finished: what was found before is not looked up again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.errors import EnvmatrixError
from envmatrix.files import write_whole
from envmatrix.lock.model import Lock, dumps, loads

# Later, the world has changed: what was found then is not what `envmatrix lock` would find.
_LONGEST_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Begun:
    """The one of a repository, for what it is begun from: the lock that was there, and what of it
    is upgraded."""

    file: Path
    clock: Callable[[], float] = time.time

    @classmethod
    def of(cls, cache: Path, root: Path, text: str, upgraded: Sequence[str] | None) -> Begun:
        words = repr((str(root.resolve()), text, upgraded))
        return cls(cache / "begun" / hashlib.sha256(words.encode()).hexdigest()[:24])

    def find(self) -> Lock | None:
        try:
            if self.clock() - self.file.stat().st_mtime > _LONGEST_SECONDS:
                return None
            return loads(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, EnvmatrixError):
            return None

    def keep(self, lock: Lock) -> None:
        write_whole(self.file, dumps(lock).encode())

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)
