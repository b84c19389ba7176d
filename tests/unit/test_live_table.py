"""The table of jobs that run, in terminals of every width."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console as RichConsole

from envmatrix.console import Console, Display
from envmatrix.live_table import LiveTable, shorten

NAME = "test a-library-with-a-long-name cuda12.4-cudnn9.10-debian12-aarch64 1/2"
STEP = "compile: [1234/5678] Building CUDA object kernels/[reduce].cu.o"
TOTAL = "288 queued, 2 running, 9 done, 1 flaky, 3 failed"
WIDTHS = pytest.mark.parametrize("width", [40, 80, 200])


def lines(width: int, *names: str) -> Sequence[str]:
    """Return what a terminal of this width shows while jobs with these names run."""
    screen = io.StringIO()
    terminal = RichConsole(file=screen, width=width, force_terminal=True, color_system=None)
    table = LiveTable(terminal)
    display = Display(Console(-1), table)
    for name in names:
        display.begin(name)
        display.step(name, STEP, 12, 200)
    display.total(12, 300, TOTAL)
    terminal.print(table.get_renderable())
    return screen.getvalue().splitlines()


@WIDTHS
def test_counts_times_and_states_stay_visible_in_every_width(width: int) -> None:
    first, second, *total = lines(width, NAME, "image short")
    assert "12/200 0:00:00 " in first
    assert "12/200 0:00:00 " in second
    assert " ".join("".join(total).split()) == f"0:00:00 12/300 jobs: {TOTAL}".replace("  ", " ")
    assert max(map(len, (first, second, *total))) <= width


@WIDTHS
def test_a_long_name_is_shortened_in_the_middle(width: int) -> None:
    (row, *_) = lines(width, NAME)
    name = row[2:].partition(" 12/200")[0].rstrip()
    beginning, mark, end = name.partition("…")
    assert NAME.startswith(beginning)
    assert NAME.endswith(end)
    assert len(beginning) > 3
    assert bool(mark) == (width < 200)


def test_all_is_visible_where_there_is_room() -> None:
    (row, *_) = lines(200, NAME)
    assert NAME in row
    assert STEP in row


@pytest.mark.parametrize(
    ("width", "tail", "text"),
    [(8, 0.5, "abcdefgh"), (5, 0.5, "ab…gh"), (4, 0.5, "a…gh"), (4, 0.0, "abc…"), (1, 0.5, "…")],
)
def test_a_text_is_shortened_to_a_width(width: int, tail: float, text: str) -> None:
    assert shorten("abcdefgh", width, tail) == text
