"""A table of work in progress at the end of a terminal, which stays readable in every width."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from textwrap import wrap
from types import TracebackType
from typing import TextIO

from rich.cells import cell_len, set_cell_size

from envmatrix.records import dataclass

_REFRESH_SECONDS = 0.25
# How long a suspension waits for a thread that draws.
_PATIENCE_SECONDS = 1.0
# The width that all columns but that of the step have, if the terminal has it.
_BESIDE_STEP = 90
# The part of a shortened text that is from its end: steps end with the name of a file.
_TAIL_OF_NAME, TAIL_OF_STEP = 0.5, 0.8
_UNITS = ((1e9, "GB", 2), (1e6, "MB", 0), (1e3, "kB", 0), (1.0, "B", 0))

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_ERASED_LINE = "\r\x1b[2K"
_ERASED_LINE_ABOVE = "\x1b[1A\x1b[2K"

# Columns and lines of a terminal.
Size = tuple[int, int]
_USUAL_SIZE: Size = (80, 24)


@dataclass(slots=True)
class Row:
    """Work that began at a time, in seconds: `done` of `total`, no total being 0, in bytes or
    another unit; and its current step."""

    name: str
    began: float
    done: int = 0
    total: int = 0
    unit: str = ""
    step: str = ""


class LiveTable:
    """A row for each piece of work: its name, how much of it is done, the time, and its step. Below
    is a line for all work. It is redrawn in place until the block ends; messages appear above it.

    The cursor stays visible, so that nothing has to be restored however the program ends. Ctrl-Z
    removes the table before it stops the program, and nothing is drawn in the background.
    """

    def __init__(
        self,
        terminal: TextIO,
        size: Callable[[], Size] | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_coloured: bool = True,
    ) -> None:
        self.total = ""
        self._terminal = terminal
        self._size = size or (lambda: size_of(terminal))
        self._clock = clock
        self._dim = (_DIM, _PLAIN) if is_coloured else ("", "")
        self._began = clock()
        self._rows: list[Row] = []
        # The widths of the lines that are on the screen.
        self._widths: Sequence[int] = ()
        # Not reentrant: a handler of signals must not draw within what it interrupts.
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._refresher = threading.Thread(target=self._refresh, daemon=True)

    def __enter__(self) -> LiveTable:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
            signal.signal(signal.SIGTSTP, self._suspend)
        self._refresher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._refresher.join()
        with self._lock:
            self._write(self._erasure())
        if signal.getsignal(signal.SIGTSTP) == self._suspend:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def begin(self, name: str) -> Row:
        """Add a row, which its owner changes."""
        row = Row(name, self._clock())
        with self._lock:
            self._rows.append(row)
        self.redraw()
        return row

    def end(self, row: Row) -> None:
        with self._lock:
            self._rows = [other for other in self._rows if other is not row]

    def print(self, text: str) -> None:
        """Print lines above the table."""
        with self._lock:
            self._write(f"{self._erasure()}{text}\n{self._drawing()}")

    def redraw(self) -> None:
        with self._lock:
            self._write(self._erasure() + self._drawing())

    def _refresh(self) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone
            while not self._is_over.wait(_REFRESH_SECONDS):
                self.redraw()

    def _suspend(self, *_: object) -> None:
        """Remove the table and stop this program, as its terminal asked for; go on below what the
        shell prints meanwhile."""
        # What was interrupted may be drawing, and then never releases the lock.
        is_free = self._lock.acquire(timeout=_PATIENCE_SECONDS)
        try:
            if is_free:
                self._write(self._erasure())
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)  # returns once the program is continued
            signal.signal(signal.SIGTSTP, self._suspend)
        finally:
            if is_free:
                self._lock.release()

    def _erasure(self) -> str:
        """Return what removes the lines from the screen. A terminal that has become narrower has
        wrapped them."""
        if not self._widths:
            return ""
        columns, _ = self._size()
        height = sum(max(1, -(-width // max(1, columns))) for width in self._widths)
        self._widths = ()
        return _ERASED_LINE + _ERASED_LINE_ABOVE * (height - 1)

    def _drawing(self) -> str:
        """Return what draws the lines, without a line break at the end: the last line of the screen
        would scroll."""
        if self._is_over.is_set() or not _is_in_foreground(self._terminal):
            return ""
        now = self._clock()
        total = f"{clock_text(now - self._began)} {self.total}" if self.total else ""
        lines = table_lines(self._rows, total, self._size(), now)
        self._widths = [cell_len(left) + cell_len(step) for left, step in lines]
        dim, plain = self._dim
        return "\n".join(left + (f"{dim}{step}{plain}" if step else "") for left, step in lines)

    def _write(self, text: str) -> None:
        if text:
            self._terminal.write(text)
            self._terminal.flush()


def size_of(terminal: TextIO) -> Size:
    """Return the size of a terminal; one that nobody gave a size has the usual one."""
    columns, lines = os.get_terminal_size(terminal.fileno())
    return columns or _USUAL_SIZE[0], lines or _USUAL_SIZE[1]


def _is_in_foreground(terminal: TextIO) -> bool:
    """Return whether the terminal is this program's to draw on, or nobody's."""
    try:
        return os.tcgetpgrp(terminal.fileno()) in (0, os.getpgrp())
    except OSError:
        return True


def table_lines(
    rows: Sequence[Row], total: str, size: Size, now: float
) -> Sequence[tuple[str, str]]:
    """Return the lines of a table, each with its step apart, in at most this size: what does not
    fit is counted. Pure."""
    columns, height = size
    width = max(1, columns - 1)  # some terminals wrap a line that is full
    below = [(line, "") for line in wrap(total, width)]
    room = max(1, height - 1 - len(below))
    visible_rows = rows if len(rows) <= room else rows[: room - 1]
    more = len(rows) - len(visible_rows)
    counted = [(shorten(f"and {more} more", width), "")] if more else []
    return [*_aligned(visible_rows, width, now), *counted, *below]


def _aligned(rows: Sequence[Row], width: int, now: float) -> Sequence[tuple[str, str]]:
    counts = [count_text(row) for row in rows]
    clocks = [clock_text(now - row.began) for row in rows]
    steps = [step_text(row, now) for row in rows]
    count_width, clock_width = (max(map(len, texts), default=0) for texts in (counts, clocks))
    beside = clock_width + 1 + (count_width + 1 if count_width else 0)
    longest_step = max(map(cell_len, steps), default=0)
    step_width = min(longest_step, max(width // 3, width - _BESIDE_STEP))
    room = width - beside - (step_width + 1 if step_width else 0)
    name_width = min(max(1, room), max((cell_len(row.name) for row in rows), default=0))
    step_width = width - name_width - beside - 1
    lines = []
    for row, count, clock, step in zip(rows, counts, clocks, steps, strict=True):
        name = set_cell_size(shorten(row.name, name_width, _TAIL_OF_NAME), name_width)
        counted = [count.rjust(count_width)] if count_width else []
        left = " ".join([name, *counted, clock.rjust(clock_width)])
        text = shorten(step, step_width, TAIL_OF_STEP) if step_width > 0 else ""
        lines.append((left, f" {text}" if text else ""))
    return lines


def count_text(row: Row) -> str:
    """Return how much of the work of a row is done; nothing where its total is unknown."""
    if not row.total:
        return ""
    if row.unit != "bytes":
        return f"{row.done}/{row.total}"
    scale, unit, digits = next(each for each in _UNITS if row.total >= each[0])
    return f"{row.done / scale:.{digits}f}/{row.total / scale:.{digits}f} {unit}"


def step_text(row: Row, now: float) -> str:
    """Return the step of a row; of bytes, with the time that is left at their mean rate."""
    if row.unit != "bytes" or not 0 < row.done < row.total:
        return row.step
    left = (now - row.began) * (row.total - row.done) / row.done
    return f"{clock_text(left)} left {row.step}".rstrip()


def clock_text(seconds: float) -> str:
    """Return a time as a clock has it: `0:05`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shorten(text: str, width: int, tail: float = 0.0) -> str:
    """Return `text` in at most `width` columns; `tail` is the part (0 to 1) of them that is from
    its end."""
    if cell_len(text) <= width:
        return text
    end = round((width - 1) * tail)
    beginning = set_cell_size(text, width - 1 - end)
    return f"{beginning}…{set_cell_size(text[::-1], end)[::-1]}"
