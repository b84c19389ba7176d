"""The table of work that runs, on terminals of every width."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Callable

import pytest
from tests.terminals import Terminal

from envmatrix.live_table import LiveTable, clock_text, shorten, size_of

NAME = "test a-library-with-a-long-name cuda12.4-cudnn9.10-debian12-aarch64 1/2"
STEP = "compile: kernels/reduce.cu"
TOTAL = "12/300 jobs: 288 queued, 2 running, 9 done, 1 flaky, 3 failed"
WIDTHS = pytest.mark.parametrize("width", [40, 80, 200])


def table_on(terminal: Terminal, clock: Callable[[], float] = lambda: 0.0) -> LiveTable:
    return LiveTable(terminal, terminal.size, clock, is_coloured=False)


def begin(table: LiveTable, name: str, done: int = 0, total: int = 0, step: str = "") -> None:
    row = table.begin(name)
    row.done, row.total, row.step = done, total, step
    table.redraw()


@WIDTHS
def test_counts_times_steps_and_states_are_visible_in_every_width(width: int) -> None:
    terminal = Terminal(width)
    table = table_on(terminal)
    begin(table, NAME, 12, 200, STEP)
    begin(table, "image short", 1, 9, STEP)
    table.total = TOTAL
    table.redraw()
    first, second, *total = terminal.rows
    assert "12/200 0:00 " in first
    assert " 1/9 0:00 " in second
    assert first.endswith("reduce.cu")
    assert " ".join(total) == f"0:00 {TOTAL}"
    assert max(map(len, terminal.rows)) < width


@WIDTHS
def test_a_long_name_is_shortened_in_the_middle(width: int) -> None:
    terminal = Terminal(width)
    begin(table_on(terminal), NAME, 12, 200, STEP)
    name = terminal.rows[0].partition(" 12/200")[0].rstrip()
    beginning, mark, end = name.partition("…")
    assert NAME.startswith(beginning)
    assert NAME.endswith(end)
    assert len(beginning) > 3
    assert bool(mark) == (width < 200)


def test_work_of_unknown_extent_has_a_clock_and_no_count() -> None:
    seconds = iter((0.0, 0.0, 65.0))
    terminal = Terminal(40)
    table = table_on(terminal, lambda: next(seconds, 65.0))
    begin(table, "test", step="Start 4: check.hangs")
    assert terminal.rows == ["test 1:05 Start 4: check.hangs"]


def test_bytes_have_the_time_that_is_left_and_the_name_of_the_file() -> None:
    seconds = iter((0.0, 0.0, 20.0))
    terminal = Terminal(80)
    row = (table := table_on(terminal, lambda: next(seconds, 20.0))).begin("download")
    row.unit, row.done, row.total, row.step = "bytes", 100_000_000, 400_000_000, "libcublas.deb"
    table.redraw()
    assert terminal.rows == ["download 100/400 MB 0:20 1:00 left libcublas.deb"]


def test_wide_characters_do_not_wrap_a_row() -> None:
    terminal = Terminal(40)
    begin(table_on(terminal), "試験" * 20, step="翻訳" * 20)
    assert len(terminal.rows) == 1


def test_rows_that_do_not_fit_are_counted() -> None:
    terminal = Terminal(40, 6)
    table = table_on(terminal)
    table.total = "0/9 jobs: 9 running"
    for number in range(9):
        begin(table, f"job {number}")
    *rows, more, total = terminal.rows
    assert [row.split(" 0:")[0] for row in rows] == ["job 0", "job 1", "job 2"]
    assert (more, total) == ("and 6 more", "0:00 0/9 jobs: 9 running")


def test_messages_stay_above_the_table_which_disappears_at_its_end() -> None:
    terminal = Terminal(40)
    with table_on(terminal) as table:
        begin(table, "one")
        table.print("done     zero in 1.0 s")
        begin(table, "two")
        assert terminal.rows == ["done     zero in 1.0 s", "one 0:00", "two 0:00"]
    assert terminal.rows == ["done     zero in 1.0 s"]


def test_nothing_is_left_of_rows_that_a_narrower_terminal_has_wrapped() -> None:
    terminal = Terminal(80)
    table = table_on(terminal)
    table.print("before")
    begin(table, "x" * 50)
    wrapped = Terminal(40)
    wrapped.write(f"before\n{terminal.rows[1]}")  # as terminals do
    terminal.screen, terminal._stream = wrapped.screen, wrapped._stream
    table.redraw()
    before, row = terminal.rows
    assert before == "before"
    assert row.endswith(" 0:00")


def test_the_cursor_is_never_hidden() -> None:
    terminal = Terminal()
    with table_on(terminal) as table:
        begin(table, "one")
        assert not terminal.screen.cursor.hidden


def test_the_table_is_removed_before_the_program_stops_and_drawn_again_below() -> None:
    terminal = Terminal(40)
    screens: list[list[str]] = []

    def stop(_process: int, number: int) -> None:
        assert number == signal.SIGTSTP
        screens.append(terminal.rows)
        terminal.write("[1]+  Stopped\n$ fg\n")

    with pytest.MonkeyPatch.context() as patch, table_on(terminal) as table:
        table.print("before")
        begin(table, "one")
        patch.setattr(os, "kill", stop)
        signal.raise_signal(signal.SIGTSTP)
        table.redraw()
        assert screens == [["before"]]
        assert terminal.rows == ["before", "[1]+  Stopped", "$ fg", "one 0:00"]
    assert signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL


def test_a_clock_shows_minutes_and_hours() -> None:
    assert [*map(clock_text, (5.9, 65, 3723))] == ["0:05", "1:05", "1:02:03"]


@pytest.mark.parametrize(
    ("width", "tail", "text"),
    [(8, 0.5, "abcdefgh"), (5, 0.5, "ab…gh"), (4, 0.5, "a…gh"), (4, 0.0, "abc…"), (1, 0.5, "…")],
)
def test_a_text_is_shortened_to_a_width(width: int, tail: float, text: str) -> None:
    assert shorten("abcdefgh", width, tail) == text


def test_a_terminal_that_nobody_gave_a_size_has_the_usual_one() -> None:
    parent, child = pty.openpty()
    with open(child, "w") as terminal, open(parent):  # noqa: PTH123 -- descriptors
        assert os.get_terminal_size(child) == (0, 0)
        assert size_of(terminal) == (80, 24)
