"""What a step prints: on disk as far as a disk should hold it, and its end at hand."""

from __future__ import annotations

from collections import deque
from pathlib import Path

# A log keeps this much from its beginning, and from its end what is at hand, in characters.
_LARGEST = 32 << 20
_LINES = 2_000
# As much of a log as the results store keeps.
_EXCERPT = 256 << 10


class Log:
    """The log of one step, in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written = 0
        self._left_out = 0
        self._end: deque[str] = deque(maxlen=_LINES)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._handle = file.open("w", encoding="utf-8")

    def add(self, line: str) -> None:
        self._end.append(line)
        if self._written < _LARGEST:
            self._handle.write(f"{line}\n")
            self._written += len(line) + 1
        else:
            self._left_out += 1

    def close(self) -> None:
        """Have the file whole; a second time does nothing."""
        if self._handle.closed:
            return
        if self._left_out:
            end = list(self._end)[-self._left_out :]
            if gone := self._left_out - len(end):
                self._handle.write(f"[... {gone} lines left out ...]\n")
            self._handle.writelines(f"{line}\n" for line in end)
        self._handle.close()

    @property
    def end(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._end)

    def excerpt(self) -> str:
        """All of a short log, else its beginning and its end; once it is closed."""
        size = self._file.stat().st_size
        with self._file.open("rb") as handle:
            if size <= _EXCERPT:
                return handle.read().decode("utf-8", "replace")
            head = handle.read(_EXCERPT // 4).decode("utf-8", "replace")
            handle.seek(size - _EXCERPT * 3 // 4)
            tail = handle.read().decode("utf-8", "replace")
        return f"{head}\n[... {size - _EXCERPT} bytes left out ...]\n{tail}"
