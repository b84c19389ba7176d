"""What became of a pipeline, as lines for people and as Markdown for the page of an engine. Pure.

Names and messages are those of libraries, tests and branches: in Markdown every character that
could mean something there is a reference to it.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from envmatrix.pipeline.model import Pipeline
from envmatrix.pipeline.verdict import Row, RowState, Verdict
from envmatrix.text import number_of, one_line, redacted, rough_duration

# More failures, and more rows of cells, than these are counted; in all, a page has few bytes more
# than `_MOST_CHARACTERS`.
_MOST_FAILURES, _MOST_CELLS, _MOST_CHARACTERS = 200, 1000, 500_000
_LONGEST = 500
# What means nothing in Markdown, wherever it is; an underscore only in a word.
_PLAIN = re.compile(r"[^\x00-\x7f]|[A-Za-z0-9 ,;+=.-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])")
_ANY = re.compile(rf"(?:{_PLAIN.pattern})|([\x00-\x7f])")
# The worst first.
_STATES: Sequence[RowState] = (
    "failed",
    "infrastructure",
    "missing",
    "flaky",
    "waived",
    "done",
    "reused",
    "skipped",
)


# The lines that tests execute of libraries, in percent, by the ids of their analyses.
Coverage = Mapping[str, float]


def coverage_line(percent: float) -> str:
    """Return the line in the log of an analysis that engines find the coverage in."""
    return f"coverage  {percent:.2f} % of lines"


def lines(pipeline: Pipeline, verdict: Verdict) -> Iterator[str]:
    """Yield what is wrong, how to reproduce it, and the numbers."""
    for problem in verdict.problems:
        yield f"failed    the plan: {one_line(problem)}"
    bad = [row for row in verdict.rows if row.is_bad]
    for row in bad[:_MOST_FAILURES]:
        yield f"{row.state:9} {one_line(row.job.name)}: {one_line(row.message)}"
        yield f"          {one_line(shlex.join(row.job.command))}"
    if len(bad) > _MOST_FAILURES:
        yield f"and {len(bad) - _MOST_FAILURES} more"
    yield f"{_numbers(pipeline, verdict)}"


def _numbers(pipeline: Pipeline, verdict: Verdict) -> str:
    counts = [f"{verdict.counts[state]} {state}" for state in _STATES if verdict.counts[state]]
    total = number_of(len(verdict.rows), "job")
    saved = f"; saved {rough_duration(pipeline.saved)}" if pipeline.saved else ""
    return f"{total}: {', '.join(counts) or one_line(pipeline.emptiness)}{saved}"


def document(verdict: Verdict, coverage: Coverage) -> Mapping[str, object]:
    """Return what became of the jobs as JSON has it."""
    return {
        "good": verdict.is_good,
        "problems": [*verdict.problems],
        "jobs": [_document_row(row, coverage.get(row.job.id)) for row in verdict.rows],
    }


def _document_row(row: Row, coverage: float | None) -> Mapping[str, object]:
    outcome = row.outcome
    return {
        "id": row.job.id,
        "name": row.job.name,
        "state": row.state,
        "message": row.message,
        "attempt": outcome.attempt if outcome else None,
        "node": outcome.node if outcome else None,
        "seconds": outcome.seconds if outcome else None,
        "tests": dict(outcome.counts) if outcome else {},
        "coverage": coverage,
    }


def markdown(pipeline: Pipeline, verdict: Verdict, coverage: Coverage) -> str:
    """Return the page of a pipeline: the failures first, and a table of cells and libraries."""
    page = ""
    for line in _markdown_lines(pipeline, verdict, coverage):
        if len(page) > _MOST_CHARACTERS:
            return f"{page}\nThere is more; `envmatrix ci report` has it.\n"
        page += f"{line}\n"
    return page


def _markdown_lines(pipeline: Pipeline, verdict: Verdict, coverage: Coverage) -> Iterator[str]:
    yield f"## envmatrix: {'passed' if verdict.is_good else 'failed'}"
    yield f"\n{escaped(_numbers(pipeline, verdict))}"
    for problem in verdict.problems:
        yield f"\n**The plan**: {escaped(problem)}"
    if bad := [row for row in verdict.rows if row.is_bad]:
        yield from _failures(bad)
    yield from _cells(verdict)
    yield from _coverage(pipeline, coverage)
    if pipeline.left_out:
        yield f"\n{number_of(len(pipeline.left_out), 'cell')} left out:\n"
        for reason, cells in _by_reason(pipeline.left_out).items():
            yield f"- {number_of(len(cells), 'cell')}: {escaped(reason)}"


def _failures(bad: Sequence[Row]) -> Iterator[str]:
    yield "\n### What is wrong\n\n| job | state | reason | reproduce |\n| --- | --- | --- | --- |"
    for row in bad[:_MOST_FAILURES]:
        command = f"<code>{escaped(shlex.join(row.job.command))}</code>"
        reason = escaped(row.message)
        yield f"| {escaped(row.job.name)} | {row.state} | {reason} | {command} |"
    if len(bad) > _MOST_FAILURES:
        yield f"\nand {len(bad) - _MOST_FAILURES} more"


def _cells(verdict: Verdict) -> Iterator[str]:
    """Yield a table with the worst state of each library in each cell."""
    states: defaultdict[str, defaultdict[str, list[RowState]]]
    states = defaultdict(lambda: defaultdict(list))
    for row in verdict.rows:
        states[row.job.cell][row.job.library or "image"].append(row.state)
    if not states:
        return
    libraries = sorted({library for row in states.values() for library in row})
    yield f"\n### Cells\n\n| cell | {' | '.join(map(escaped, libraries))} |"
    yield f"| --- |{' --- |' * len(libraries)}"
    for cell in sorted(states)[:_MOST_CELLS]:
        row_of_cell = (min(states[cell][name], key=_place, default="") for name in libraries)
        yield f"| {escaped(cell)} | {' | '.join(row_of_cell)} |"
    if len(states) > _MOST_CELLS:
        yield f"\nand {len(states) - _MOST_CELLS} more cells"


def _coverage(pipeline: Pipeline, coverage: Coverage) -> Iterator[str]:
    if not coverage:
        return
    yield "\n### Coverage\n\n| library | cell | lines |\n| --- | --- | --- |"
    for job in pipeline.jobs:
        if job.id in coverage:
            yield f"| {escaped(job.library)} | {escaped(job.cell)} | {coverage[job.id]:.2f} % |"


def _place(state: RowState) -> int:
    return _STATES.index(state)


def _by_reason(left_out: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    rows: defaultdict[str, list[str]] = defaultdict(list)
    for cell, reason in left_out.items():
        rows[reason].append(cell)
    return rows


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it is, on one line, without passwords."""
    text = one_line(redacted(text))
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    return _ANY.sub(lambda match: f"&#{ord(match[1])};" if match[1] else match[0], text)
