"""The tasks that an executor has, by their keys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from envmatrix.engine.tasks import cancelled_task, checked_key, unknown_task

T = TypeVar("T")


class Submissions(Generic[T]):
    """What an executor makes of each task, from its submission until its result is collected or it
    is cancelled. For several threads at once."""

    def __init__(self) -> None:
        self._submissions: dict[str, T] = {}
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def submit(self, key: str, make: Callable[[], T]) -> T:
        """Return the submission of a key: that of before, or the one that `make` returns."""
        with self._lock:
            if self._is_closed:
                raise cancelled_task(key)
            self._cancelled.discard(key)
            if key not in self._submissions:
                checked_key(key)
                self._submissions[key] = make()
            return self._submissions[key]

    def find(self, key: str) -> T:
        """Return the submission of a key; Cancelled for one that was cancelled, EngineError where
        there is none."""
        with self._lock:
            if key in self._submissions:
                return self._submissions[key]
            raise cancelled_task(key) if key in self._cancelled else unknown_task(key)

    def remove(self, key: str) -> T | None:
        """Remove a submission, whose key is free then; return it, if there is one."""
        with self._lock:
            return self._submissions.pop(key, None)

    def cancel(self, key: str) -> T | None:
        """Remove a submission, and remember that its key was cancelled; return it, if there is
        one."""
        with self._lock:
            self._cancelled.add(key)
            return self._submissions.pop(key, None)

    def close(self) -> Sequence[str]:
        """Refuse others with Cancelled; return the keys that there are."""
        with self._lock:
            self._is_closed = True
            return (*self._submissions,)
