"""`envmatrix bisect`: find the first revision that fails or is slower."""

from __future__ import annotations

from typing import Unpack

import click

from envmatrix.app.bisecting import Bisection, Culprits, bisect_library
from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.commands import display, options
from envmatrix.comparison.model import Limits
from envmatrix.console import Console


@click.command(
    "bisect", epilog="Example: envmatrix bisect cuda13-x86_64 --good HEAD~20 --test host_reference"
)
@options.cell
@click.option("--good", required=True, metavar="REVISION", help="A revision before the change.")
@click.option(
    "--bad", default="HEAD", show_default=True, metavar="REVISION", help="One after the change."
)
@click.option("--test", metavar="NAME", help="Find where this test begins to fail.")
@click.option("--benchmark", metavar="NAME", help="Find where this benchmark becomes slower.")
@options.comparing
@options.as_json
def command(
    *,
    good: str,
    bad: str,
    test: str | None,
    benchmark: str | None,
    limits: Limits,
    seconds: float,
    as_json: bool,
    console: Console,
    **cell: Unpack[CellArguments],
) -> int:
    """Find the first commit after --good at which a library in CELL no longer compiles or passes
    its tests, or at which a test fails or a benchmark is slower. Exit with 0 if only one is left.

    Commits are those of first parents. Each is built in a directory of its own, and those that are
    there already are preferred."""
    if test is not None and benchmark is not None:
        raise click.UsageError("`--test` and `--benchmark` exclude each other")
    session = open_session(console, only_first=True, **cell)
    bisection = Bisection(good, bad, test, benchmark, limits, seconds)
    culprits = bisect_library(session, bisection)
    document = {
        "first": culprits.first,
        "suspects": [*culprits.suspects],
        "contradictory": culprits.is_contradictory,
        "tried": [
            {"revision": revision, "answer": answer, "reason": reason}
            for revision, answer, reason in culprits.tried
        ],
    }
    display.show(document, [_summary(culprits)], as_json=as_json)
    return 0 if culprits.first else 1


def _summary(culprits: Culprits) -> str:
    again = "; it was good again in between" if culprits.is_contradictory else ""
    if culprits.first:
        return f"the first bad commit is {culprits.first}{again}"
    return f"one of these is the first bad commit: {', '.join(culprits.suspects)}{again}"
