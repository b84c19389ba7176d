"""Output of the program: messages and progress on stderr, data on stdout.

Colour and moving bars are used only on a terminal, and never with NO_COLOR or TERM=dumb.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import click

from envmatrix.errors import EnvmatrixError
from envmatrix.text import one_line, safe, safe_json, safe_message

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import TaskID

    from envmatrix.live_table import LiveTable

_PLAIN_INTERVAL_SECONDS = 5.0
_PLAIN_WIDTH = 70

Advance = Callable[[int], None]


class Meter(Protocol):
    """Shows progress of `total` units; the yielded function advances it, also backwards."""

    def task(self, name: str, *, total: int, unit: str) -> AbstractContextManager[Advance]: ...


def output(text: str) -> None:
    """Print the result of a command to stdout."""
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


class Console:
    """Writes messages. `verbosity` is -1 (errors only), 0, or 1 (with output of subprocesses)."""

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self._writing = threading.Lock()

    @property
    def is_live(self) -> bool:
        """True where lines can be redrawn."""
        is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        return sys.stderr.isatty() and not is_plain and self.verbosity == 0

    @cached_property
    def rich(self) -> RichConsole:
        from rich.console import Console as RichConsole  # 60 ms that plain output never pays

        return RichConsole(stderr=True, highlight=False, emoji=False)

    def say(self, message: str, *, style: str = "") -> None:
        if self.verbosity >= 0:
            self._write(safe_message(message), style)

    def detail(self, message: str) -> None:
        if self.verbosity > 0:
            self._write(safe(message), "dim")

    def warn(self, message: str) -> None:
        if self.verbosity >= 0:
            self._write(safe_message(message), "yellow", label="warning: ")

    def error(self, error: EnvmatrixError) -> None:
        for detail in error.details:
            self._write(safe(detail))
        for problem in error.problems:
            self._write(safe_message(one_line(str(problem))), "bold red", label="error: ")
            if problem.hint:
                self._write(safe(one_line(problem.hint)), "cyan", label="hint: ")

    def _write(self, message: str, style: str = "", *, label: str = "") -> None:
        """Write a safe text with the style, which is only that of its label if it has one."""
        if style and sys.stderr.isatty():
            from rich.text import Text

            text = Text.assemble((label, style), message) if label else Text(message, style=style)
            self.rich.print(text, soft_wrap=True)
            return
        with self._writing:
            print(f"{label}{message}", file=sys.stderr, flush=True)

    @contextmanager
    def display(self) -> Iterator[Display]:
        """Show the progress of parallel work."""
        if not self.is_live:
            yield Display(self)
            return
        from envmatrix.live_table import LiveTable

        with LiveTable(self.rich) as table:
            yield Display(self, table)

    @contextmanager
    def task(self, name: str, *, total: int, unit: str) -> Iterator[Advance]:
        """Show a bar on a terminal, a line every few seconds elsewhere, nothing without work."""
        if total == 0 or self.verbosity < 0:
            yield lambda _: None
        elif self.is_live:
            with self._bar(name, total, unit) as advance:
                yield advance
        else:
            yield self._lines(name, total, unit)

    @contextmanager
    def _bar(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        from rich import progress as bars

        amount = bars.DownloadColumn() if unit == "bytes" else bars.MofNCompleteColumn()
        speed = (bars.TransferSpeedColumn(),) if unit == "bytes" else ()
        columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), amount, *speed)
        with bars.Progress(
            *columns, bars.TimeRemainingColumn(), console=self.rich, transient=True
        ) as bar:
            task = bar.add_task(name, total=total)
            yield _adding(lambda done, total: bar.update(task, completed=done, total=total), total)

    def _lines(self, name: str, expected: int, unit: str) -> Advance:
        line_time = time.monotonic()

        def show(done: int, total: int) -> None:
            nonlocal line_time
            if done != expected and time.monotonic() - line_time < _PLAIN_INTERVAL_SECONDS:
                return
            line_time = time.monotonic()
            self.say(f"{name}: {amount_of(done, unit)} of {amount_of(total, unit)}")

        return _adding(show, expected)


class Display:
    """Shows the progress of parallel work: redrawn lines on a terminal, plain lines elsewhere, and
    with -v the output of subprocesses."""

    def __init__(self, console: Console, live: LiveTable | None = None) -> None:
        self._console = console
        self._live = live
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._line_times: dict[str, float] = {}

    @contextmanager
    def job(self, name: str, verb: str, reason: str, outcome: str) -> Iterator[None]:
        """Show a job from its start to its end, which is `outcome` or a failure."""
        self.started(name, verb, reason)
        try:
            yield
        except BaseException:
            self.finished(name, "failed")
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

    def started(self, name: str, verb: str, reason: str) -> None:
        self._console.say(f"{verb:8} {name}: {reason}")
        self.begin(name)

    def begin(self, name: str) -> None:
        """Show a job from now on, without a line that stays."""
        self._started[name] = self._line_times[name] = time.monotonic()
        if self._live is not None:
            self._tasks[name] = self._live.add_task(name, total=None, step="")

    def step(self, name: str, step: str, done: int, total: int) -> None:
        if self._live is not None:
            text = _without_options(one_line(step))
            self._live.update(self._tasks[name], completed=done, total=total, step=text)
        elif time.monotonic() - self._line_times[name] >= _PLAIN_INTERVAL_SECONDS:
            self._line_times[name] = time.monotonic()
            text = _without_options(step)
            cut = text if len(text) <= _PLAIN_WIDTH else f"{text[: _PLAIN_WIDTH - 1]}…"
            self._console.say(f"         {name}: {cut}")

    def log(self, name: str, line: str) -> None:
        self._console.detail(f"{name}: {line}")

    def finished(self, name: str, outcome: str) -> None:
        seconds = time.monotonic() - self._started[name]
        if self._live is not None:
            self._live.remove_task(self._tasks.pop(name))
        self._console.say(f"{outcome:8} {name} in {seconds:.1f} s")

    def total(self, done: int, total: int, text: str) -> None:
        """Show how much of the whole work is done, below all else; on a terminal only."""
        if self._live is not None:
            self._live.total = f"{done}/{total} jobs: {text}"


class JobConsole(Console):
    """Reports of one job among others: its messages have its name, and its steps are what the job
    does at the moment."""

    def __init__(self, name: str, console: Console, display: Display) -> None:
        super().__init__(console.verbosity)
        self._name, self._console, self._display = name, console, display

    @property
    def is_live(self) -> bool:
        return False

    def say(self, message: str, *, style: str = "") -> None:  # noqa: ARG002 -- as its base
        self._console.detail(f"{self._name}: {message}")

    def detail(self, message: str) -> None:
        self._console.detail(f"{self._name}: {message}")

    def warn(self, message: str) -> None:
        self._console.warn(f"{self._name}: {message}")

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
            yield lambda _: None
            return
        with self._display.job(self._name, name, amount_of(total, unit), "fetched"):
            yield _counter(lambda amount: self._display.step(self._name, amount, 0, 0), total, unit)


def _counter(show: Callable[[str], None], total: int, unit: str) -> Advance:
    """Return a function that adds up amounts, and shows how much of `total` they are."""

    def show_amounts(done: int, total: int) -> None:
        show(f"{amount_of(done, unit)} of {amount_of(total, unit)}")

    advance = _adding(show_amounts, total)
    if total:
        advance(0)
    return advance


def _adding(show: Callable[[int, int], None], total: int) -> Advance:
    """Return a function that adds up amounts, from any thread, and shows them with the total: at
    least the amount, which is larger if a whole file is downloaded in place of its ranges."""
    done = 0
    lock = threading.Lock()

    def advance(amount: int) -> None:
        nonlocal done, total
        with lock:
            done += amount
            total = max(total, done)
            show(done, total)

    return advance


class _JobSteps(Display):
    """Shows the steps of a job as the progress of that job."""

    def __init__(self, console: Console, display: Display, name: str) -> None:
        super().__init__(console)
        self._display, self._name = display, name

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
    """Return `value` for people: 1.2 GB for bytes, else the number and its unit."""
    if unit != "bytes":
        return f"{value} {unit}"
    scaled = float(value)
    for prefix in ("", "k", "M"):
        if scaled < 1000:
            return f"{scaled:.0f} {prefix}B"
        scaled /= 1000
    return f"{scaled:.2f} GB"
