"""A table of work in progress on a terminal, which stays readable in every width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.progress import (
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from envmatrix.records import dataclass

# The width that all columns but that of the step have, if the terminal has it.
_BESIDE_STEP = 90


class LiveTable(Progress):
    """A row for each job that runs: its name, how much of it is done, the time, and its step. The
    name and the step share the width that the others leave. Below is a line for all jobs."""

    def __init__(self, console: Console) -> None:
        self.total = ""  # before the first rendering, which the base begins with
        super().__init__(
            SpinnerColumn(table_column=Column(no_wrap=True)),
            _NameColumn(),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            _StepColumn(),
            console=console,
            transient=True,
        )
        self._began = self.get_time()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.total:
            elapsed = timedelta(seconds=int(self.get_time() - self._began))
            yield Text(f"{elapsed} {self.total}")


class _NameColumn(ProgressColumn):
    def render(self, task: Task) -> RenderableType:
        return _Shortened(task.description, tail=0.5)


class _StepColumn(ProgressColumn):
    def render(self, task: Task) -> RenderableType:
        return _Shortened(task.fields["step"], style="dim", others=_BESIDE_STEP)


@dataclass(frozen=True, slots=True)
class _Shortened:
    """A text in one line, of which the width of its column decides how much there is. `tail` is the
    part (0 to 1) of that which is from its end. The text leaves the width `others` to the others,
    as far as a fifth of the whole is enough for it."""

    text: str
    style: str = ""
    tail: float = 0.0
    others: int = 0

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = max(console.width // 5, console.width - self.others)
        return Measurement(1, max(1, min(len(self.text), width)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text(shorten(self.text, options.max_width, self.tail), self.style, no_wrap=True)


def shorten(text: str, width: int, tail: float = 0.0) -> str:
    """Return `text` in at most `width` characters; `tail` is the part (0 to 1) of them that is from
    its end."""
    if len(text) <= width:
        return text
    end = round((width - 1) * tail)
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
