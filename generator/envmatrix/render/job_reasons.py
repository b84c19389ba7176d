"""The reasons for what becomes of jobs and cells, in lines that stay few. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from envmatrix.jobs.model import Job
from envmatrix.text import one_line

# More lines than these are too many to read.
_MOST = 10


class Reason(NamedTuple):
    """The reason for what becomes of a job or a cell: its name, its cell, and the words for all
    that has other cells and is the same otherwise. What follows a colon is of this one alone."""

    name: str
    cell: str
    others: str
    text: str

    @classmethod
    def of_job(cls, job: Job, text: str) -> Reason:
        library, cell, *_ = job.subject
        return cls(str(job), cell, f"{job.kind} {library}", text)

    @classmethod
    def of_cell(cls, cell: str, text: str) -> Reason:
        return cls(cell, cell, "all libraries", text)


def reason_lines(word: str, reasons: Sequence[Reason], whole_list: str) -> Iterator[str]:
    """Yield a line for each reason; if they are many, one for those that are the same in several
    cells, and at the end where the whole list is."""
    if len(reasons) <= _MOST:
        yield from (f"{word} {reason.name}: {one_line(reason.text)}" for reason in reasons)
        return
    cells: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for reason in reasons:
        cells[reason.others, one_line(reason.text).partition(": ")[0]].add(reason.cell)
    groups = sorted(cells.items(), key=lambda group: -len(group[1]))
    for (others, text), names in groups[: _MOST - 1]:
        yield f"{word} {others} in {len(names)} cell{'s'[: len(names) - 1]}: {text}"
    rest = len(groups) - _MOST + 1
    more = f"and {rest} more such lines; " if rest > 0 else ""
    yield f"{' ' * len(word)} {more}{whole_list}"
