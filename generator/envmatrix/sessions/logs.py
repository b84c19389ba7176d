"""Logs of steps: bounded on disk, with the end in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from envmatrix.records import dataclass

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


@dataclass(frozen=True, slots=True)
class Progress:
    """What a line of output tells of progress: the steps that are `done`, of a `total` that is 0
    where the line does not tell, and the file or test that it is about, or all of its text."""

    done: int
    total: int
    text: str


_LONGEST_PROGRESS = 1000
# `[3/20] ` of ninja, `[ 15%] ` of make, ` 3/20 Test  #3: ` of CTest, ` 3/20 ` of Meson.
_COUNT = re.compile(r"(?:\[(?P<ninja>\d+/\d+)\]|\[ *\d+%\]| *(?P<test>\d+/\d+)(?: Test +#\d+:)?) +")
# `Building CXX object CMakeFiles/name.dir/src/file.cpp.o`, `Linking CXX executable name`, as CMake
# and Meson write them.
_OUTPUT = re.compile(
    r"(?:Building|Compiling|Linking) \S+ "
    r"(?:object|executable|(?:static|shared) (?:library|module)) "
    r"(?:\S+\.(?:dir|p)/)?(?P<file>\S+?)(?:\.o(?:bj)?)?$"
)
# `Start  3: name` of CTest, `[ RUN      ] name` of GoogleTest; behind the name of CTest are dots.
_STARTED = re.compile(r" *Start +\d+: (.+)|\[ RUN +\] (.+)")
_DOTS = re.compile(r" \.{3,}.*")
# `a.py::test PASSED  [ 50%]` of pytest.
_ENDED = re.compile(r"(\S+?::.*?) (?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.* \[ *\d+%\]$")


def progress_of(line: str) -> Progress:
    """Parse a line of output of build systems and test frameworks; longer lines are of others."""
    if len(line) > _LONGEST_PROGRESS:
        return Progress(0, 0, line.strip())
    count = _COUNT.match(line)
    numbers = (count["ninja"] or count["test"] or "0/0") if count else "0/0"
    done, total = map(int, numbers.split("/"))
    text = line[count.end() :] if count else line
    if match := _OUTPUT.match(text):
        return Progress(done, total, match["file"])
    if match := _STARTED.match(text):
        return Progress(done, total, match[1] or match[2])
    if match := _ENDED.match(text):
        return Progress(done, total, match[1])
    return Progress(done, total, _DOTS.sub("", text).strip())
