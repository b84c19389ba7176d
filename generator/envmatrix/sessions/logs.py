"""Logs of steps: bounded on disk, with the end in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

# A log is no larger than both together, in bytes: its beginning and its end.
_HEAD, _TAIL = 24 << 20, (8 << 20) - 1024
# As much of its end as is looked at to say what went wrong, and of a line of it.
_LAST_BYTES, _LAST_LINES, _LONGEST_LINE = 512 << 10, 2_000, 4096
# As much of a log as the results store keeps.
_EXCERPT = 256 << 10
# As much of a line as is read at once.
_PIECE = 64 << 10


class Log:
    """Log of one step, in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._size = 0
        self._last = bytearray()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._handle = file.open("wb")

    def add(self, printed: bytes) -> None:
        if (room := _HEAD - self._size) > 0:
            self._handle.write(printed[:room])
        self._size += len(printed)
        self._last += printed
        del self._last[:-_TAIL]

    def close(self) -> None:
        """Write the rest of the file and close it; a second call does nothing."""
        if self._handle.closed:
            return
        if (rest := self._size - _HEAD) > 0:
            tail = self._last[-rest:]
            if left_out := rest - len(tail):
                self._handle.write(f"\n[... {left_out} bytes left out ...]\n".encode())
            self._handle.write(tail)
        self._handle.close()

    @property
    def end(self) -> tuple[str, ...]:
        """The last lines."""
        text = self._last[-_LAST_BYTES:].decode("utf-8", "replace")
        lines = text.removesuffix("\n").split("\n") if text else []
        return tuple(line.rstrip("\r")[:_LONGEST_LINE] for line in lines[-_LAST_LINES:])

    def excerpt(self) -> str:
        """Return a short log as a whole, a long one as its beginning and its end."""
        if not self._handle.closed:
            self._handle.flush()
        with self._file.open("rb") as handle:
            if self._size <= _EXCERPT:
                return handle.read(_EXCERPT).decode("utf-8", "replace")
            head = handle.read(_EXCERPT // 4).decode("utf-8", "replace")
        tail = self._last[-_EXCERPT * 3 // 4 :].decode("utf-8", "replace")
        return f"{head}\n[... {self._size - _EXCERPT} bytes left out ...]\n{tail}"


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def plain(line: str) -> str:
    """Return a line without escape sequences of colours."""
    return _COLOUR.sub("", line)


def read_lines(file: Path) -> Iterator[str]:
    """Yield the lines of a log; a very long line in pieces."""
    with file.open("rb") as handle:
        while line := handle.readline(_PIECE):
            yield line.decode("utf-8", "replace").rstrip("\r\n")


_NINJA = re.compile(r"\[(\d+)/(\d+)\]")


def ninja_progress(line: str) -> tuple[int, int]:
    """Parse the completed and total steps of ninja's output: `[3/20] ...`."""
    match = _NINJA.match(line)
    return (int(match[1]), int(match[2])) if match else (0, 0)
