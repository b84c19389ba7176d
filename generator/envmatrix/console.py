"""Output of the program: messages and progress on stderr, data on stdout.

Colours are used only on a terminal, and never with NO_COLOR or TERM=dumb; lines are redrawn only
where colours are used, and never with CI. Each colour repeats what a word says.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import click

from envmatrix.errors import EnvmatrixError
from envmatrix.text import duration, number_of, one_line, safe, safe_json, safe_message

if TYPE_CHECKING:
    from envmatrix.live_table import LiveTable, Row

_PLAIN_INTERVAL_SECONDS = 5.0
# Commands that take less are not timed.
_LONG_SECONDS = 2.0
_PLAIN_WIDTH = 70

_RED, _GREEN, _YELLOW = "red", "green", "yellow"
# The colours of lines that begin with the state of something, by that word.
_STATE_COLOURS: Mapping[str, str] = {
    **dict.fromkeys(("failed", "errored", "killed", "interrupted", "differs"), _RED),
    **dict.fromkeys(("done", "passed", "built", "made", "pulled", "pushed", "fetched"), _GREEN),
    **dict.fromkeys(("flaky", "waived", "skipped", "postponed", "left", "warning"), _YELLOW),
}


class Advance(Protocol):
    """Adds an amount of work that is done, and names what is worked on."""

    def __call__(self, amount: int, item: str = "") -> None: ...


class Meter(Protocol):
    """Shows progress of `total` units; the yielded function advances it, also backwards."""

    def task(self, name: str, *, total: int, unit: str) -> AbstractContextManager[Advance]: ...


def output(text: str) -> None:
    """Print the result of a command to stdout, for people: in the width of a terminal."""
    text = _in_width(safe(text), sys.stdout)
    if _is_coloured(sys.stdout):
        text = "\n".join(map(_with_coloured_state, text.split("\n")))
    _print(text)


def output_document(text: str) -> None:
    """Print a script, a graph or another text of a language to stdout, as it is."""
    _print(safe(text))


def output_json(text: str) -> None:
    """Print a JSON document to stdout."""
    _print(safe_json(text))


def _print(text: str) -> None:
    try:
        click.echo(text)
    except OSError as error:  # as of a full disk
        error.filename = error.filename or "standard output"
        raise


def _is_coloured(stream: TextIO) -> bool:
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_plain


def _in_width(text: str, stream: TextIO) -> str:
    """Return a text with the lines that a terminal has room for; elsewhere, as it is."""
    if not stream.isatty():
        return text
    from envmatrix.wrapping import wrap_lines

    try:
        columns, _ = os.get_terminal_size(stream.fileno())
    except OSError:  # a terminal that is gone, or has no size
        return text
    return wrap_lines(text, columns) if columns else text


def _with_coloured_state(line: str) -> str:
    """Return a line, of which the first word is coloured if it is a state."""
    word, space, rest = line.partition(" ")
    colour = _STATE_COLOURS.get(word)
    return f"{click.style(word, fg=colour)}{space}{rest}" if colour and space else line


class Console:
    """Writes messages. `verbosity` is -1 (errors only), 0, or 1 (with output of subprocesses)."""

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self._writing = threading.Lock()
        self._table: LiveTable | None = None
        self._warnings: set[str] = set()

    @property
    def is_live(self) -> bool:
        """True where lines can be redrawn."""
        is_recorded = os.environ.get("CI", "") not in ("", "0", "false")
        return _is_coloured(sys.stderr) and not is_recorded and self.verbosity == 0

    def say(self, message: str) -> None:
        if self.verbosity >= 0:
            self._write(safe_message(message))

    def detail(self, message: str) -> None:
        if self.verbosity > 0:
            self._write(safe(message), is_raw=True)

    def warn(self, message: str, *, about: str = "") -> None:
        """Write a warning once, however often it is given: with what it is `about` first."""
        with self._writing:
            is_new = message not in self._warnings
            self._warnings.add(message)
        if is_new and self.verbosity >= 0:
            text = f"{about}: {message}" if about else message
            self._write(safe_message(text), label="warning:", colour=_YELLOW)

    def error(self, error: EnvmatrixError) -> None:
        for detail in error.details:
            self._write(safe(detail), is_raw=True)
        for problem in error.problems:
            text = f"{one_line(str(problem))} [{error.name}]"
            self._write(safe_message(text), label="error:", colour=_RED)
            if problem.hint:
                self._write(safe(one_line(problem.hint)), label="hint:", colour="cyan")

        self.say_end("failed", error.seconds)

    def say_end(self, state: str, seconds: float) -> None:
        """Say in which state a command ended, and after which time, if it was long."""
        if seconds >= _LONG_SECONDS:
            self.say(f"{state:8} in {duration(seconds)}")

    def _write(
        self, message: str, *, label: str = "", colour: str = "", is_raw: bool = False
    ) -> None:
        """Write a safe text above what is redrawn; a label has a colour, else a state has. The
        lines of other programs, which are raw, are not broken."""
        text = f"{label} {message}" if label else message
        if not is_raw:
            text = _in_width(text, sys.stderr)
        if _is_coloured(sys.stderr):
            head = click.style(label, fg=colour, bold=True) if label else ""
            text = f"{head}{text.removeprefix(label)}" if label else _with_coloured_state(text)
        if table := self._table:
            table.print(text)
            return
        with self._writing:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def display(self) -> Iterator[Display]:
        """Show the progress of parallel work, on a terminal in one table for all."""
        if not self.is_live or self._table is not None:
            yield Display(self, self._table)
            return
        from envmatrix.live_table import LiveTable

        with LiveTable(sys.stderr) as table:
            self._table = table
            try:
                yield Display(self, table)
            finally:
                self._table = None

    @contextmanager
    def task(self, name: str, *, total: int, unit: str) -> Iterator[Advance]:
        """Show a row on a terminal, a line every few seconds elsewhere, nothing without work."""
        if total == 0 or self.verbosity < 0:
            yield _Sum(total, _show_nothing)
        elif self.is_live:
            with self.display() as display, display.amount(name, total, unit) as advance:
                yield advance
        else:
            yield self._lines(name, total, unit)

    def _lines(self, name: str, expected: int, unit: str) -> Advance:
        line_time = time.monotonic()

        def show(done: int, total: int, item: str) -> None:
            nonlocal line_time
            if done != expected and time.monotonic() - line_time < _PLAIN_INTERVAL_SECONDS:
                return
            line_time = time.monotonic()
            item = "" if done == expected else item
            self.say(f"{name}: {_part_of(total, done, unit, item)}")

        return _Sum(expected, show)


class Display:
    """Shows the progress of parallel work: redrawn lines on a terminal, plain lines elsewhere, and
    with -v the output of subprocesses."""

    def __init__(self, console: Console, live: LiveTable | None = None) -> None:
        self._console = console
        self._live = live
        self._rows: dict[str, Row] = {}
        self._started: dict[str, float] = {}
        self._line_times: dict[str, float] = {}

    @contextmanager
    def job(self, name: str, verb: str, reason: str, outcome: str) -> Iterator[None]:
        """Show a job from its start to its end, which is `outcome` or a failure."""
        self.started(name, verb, reason)
        try:
            yield
        except BaseException as error:
            is_interruption = isinstance(error, KeyboardInterrupt)
            self.finished(name, "interrupted" if is_interruption else "failed")
            raise
        self.finished(name, outcome)

    def download(self, name: str) -> Meter:
        """Return a meter that shows a download as a job, if there is anything to download."""
        return _Download(self, name)

    @property
    def is_live(self) -> bool:
        return self._live is not None

    def say(self, message: str) -> None:
        self._console.say(message)

    def announce(self, news: str) -> None:
        """Print what ought to be seen at once."""
        self._console.say(news)

    def started(self, name: str, verb: str, reason: str) -> None:
        self._console.say(f"{verb:8} {name}: {reason}")
        self.begin(name)

    def begin(self, name: str) -> None:
        """Show a job from now on, without a line that stays."""
        self._started[name] = self._line_times[name] = time.monotonic()
        if self._live is not None:
            self._rows[name] = self._live.begin(name)

    def step(self, name: str, step: str, done: int, total: int) -> None:
        """Show the current step of a job, and how many are done; without a total, those before."""
        if self._live is not None:
            row = self._rows[name]
            row.step = _without_options(one_line(step))
            if total:
                row.done, row.total = done, total
        elif time.monotonic() - self._line_times[name] >= _PLAIN_INTERVAL_SECONDS:
            self._line_times[name] = time.monotonic()
            from envmatrix.live_table import TAIL_OF_STEP, shorten

            text = shorten(_without_options(step), _PLAIN_WIDTH, TAIL_OF_STEP)
            self._console.say(f"         {name}: {text}")

    def moved(self, name: str, step: str, done: int, total: int) -> None:
        """Show the current step of a job, and how many bytes of it are done."""
        if self._live is not None:
            row = self._rows[name]
            row.step, row.done, row.total, row.unit = step, done, total, "bytes"
        else:
            self.step(name, f"{step} {_part_of(total, done, 'bytes', '')}", 0, 0)

    def log(self, name: str, line: str) -> None:
        self._console.detail(f"{name}: {line}")

    def finished(self, name: str, outcome: str) -> None:
        seconds = time.monotonic() - self._started[name]
        if self._live is not None:
            self._live.end(self._rows.pop(name))
        self._console.say(f"{outcome:8} {name} in {seconds:.1f} s")

    @contextmanager
    def amount(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Show how much of some work is done, as long as the block runs; on a terminal only."""
        assert self._live is not None  # noqa: S101 -- elsewhere there are lines
        row = self._live.begin(name)
        row.total, row.unit = total, unit

        def show(done: int, total: int, item: str) -> None:
            row.done, row.total, row.step = done, total, one_line(item)

        try:
            yield _Sum(total, show)
        finally:
            self._live.end(row)

    def total(self, done: int, total: int, text: str) -> None:
        """Show how much of the whole work is done, below all else; on a terminal only."""
        if self._live is not None:
            self._live.total = f"{done}/{number_of(total, 'job')}: {text}"


class JobConsole(Console):
    """Reports of one job among others: its messages have its name, and its steps are what the job
    does at the moment."""

    def __init__(self, name: str, console: Console, display: Display) -> None:
        super().__init__(console.verbosity)
        self._name, self._console, self._display = name, console, display

    @property
    def is_live(self) -> bool:
        return False

    def say(self, message: str) -> None:
        self._console.detail(f"{self._name}: {message}")

    def detail(self, message: str) -> None:
        self._console.detail(f"{self._name}: {message}")

    def warn(self, message: str, *, about: str = "") -> None:
        self._console.warn(message, about=about or self._name)

    @contextmanager
    def display(self) -> Iterator[Display]:
        yield _JobSteps(self, self._display, self._name)

    @contextmanager
    def task(self, name: str, *, total: int, unit: str) -> Iterator[Advance]:
        def show(amount: str) -> None:
            self._display.step(self._name, f"{name}: {amount}", 0, 0)

        yield _counter(show, total, unit)


class _Download:
    """Shows a download as a job of a display."""

    def __init__(self, display: Display, name: str) -> None:
        self._display, self._name = display, name

    @contextmanager
    def task(self, name: str, *, total: int, unit: str) -> Iterator[Advance]:
        if not total:
            yield _Sum(total, _show_nothing)
            return
        with self._display.job(self._name, name, amount_of(total, unit), "fetched"):
            yield _counter(lambda amount: self._display.step(self._name, amount, 0, 0), total, unit)


def _counter(show: Callable[[str], None], total: int, unit: str) -> Advance:
    """Return a function that adds up amounts, and shows how much of `total` they are."""

    def show_amounts(done: int, total: int, item: str) -> None:
        show(_part_of(total, done, unit, item))

    advance = _Sum(total, show_amounts)
    if total:
        advance(0)
    return advance


def _part_of(total: int, done: int, unit: str, item: str) -> str:
    """Return how much is done: 1.2 MB of 3.0 GB, or 1 of 7 sets, and the item at hand."""
    part = amount_of(done, unit) if unit == "bytes" else done
    return f"{part} of {amount_of(total, unit)}" + (f", {one_line(item)}" if item else "")


def _show_nothing(_done: int, _total: int, _item: str) -> None: ...


class _Sum:
    """Adds up amounts, from any thread, and shows them with the total: at least the amount, which
    is larger if a whole file is downloaded in place of its ranges; and with the last item."""

    def __init__(self, total: int, show: Callable[[int, int, str], None]) -> None:
        self._done, self._total, self._item = 0, total, ""
        self._show = show
        self._lock = threading.Lock()

    def __call__(self, amount: int, item: str = "") -> None:
        with self._lock:
            self._done += amount
            self._total = max(self._total, self._done)
            self._item = item or self._item
            self._show(self._done, self._total, self._item)


class _JobSteps(Display):
    """Shows the steps of a job as the progress of that job."""

    def __init__(self, console: Console, display: Display, name: str) -> None:
        super().__init__(console)
        self._display, self._name = display, name

    def announce(self, news: str) -> None:
        self._display.announce(f"{news}: {self._name}")

    def started(self, name: str, verb: str, reason: str) -> None:
        super().started(name, verb, reason)
        self._display.step(self._name, name, 0, 0)

    def step(self, name: str, step: str, done: int, total: int) -> None:
        text = step if name in self._name else f"{name}: {step}"
        self._display.step(self._name, text, done, total)


def _without_options(step: str) -> str:
    """Return a step without the options that one of a Dockerfile has."""
    return " ".join(word for word in step.split() if not word.startswith("--"))


def amount_of(value: int, unit: str) -> str:
    """Return `value` for people: 1.2 GB for bytes, else the number and its unit, a plural."""
    if unit != "bytes":
        return number_of(value, unit.removesuffix("s"), unit)
    scaled = float(value)
    for prefix in ("", "k", "M"):
        if scaled < 1000:
            return f"{scaled:.0f} {prefix}B"
        scaled /= 1000
    return f"{scaled:.2f} GB"
