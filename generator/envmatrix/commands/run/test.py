"""`envmatrix run test`: compile and test libraries in a cell."""

from __future__ import annotations

from operator import attrgetter
from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.compilation import Compilation
from envmatrix.app.library_runs import skip
from envmatrix.app.places import THIS_MACHINE
from envmatrix.app.requirements import unmet_in_cell
from envmatrix.app.testing import TestOptions, TestResult, test_libraries
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.commands.display import show_products
from envmatrix.commands.outcomes import show_outcomes
from envmatrix.console import Console, output
from envmatrix.sessions.sharding import Shard
from envmatrix.sessions.test_dependencies import Selection
from envmatrix.sessions.testing import TestRequest, TestRun
from envmatrix.text import number_of, one_line


@click.command(
    "test", cls=options.Passing, epilog="Example: envmatrix run test cuda12-aarch64 -- -L host"
)
@options.cell
@click.option("--shard", metavar="I/N", help="Run the I-th of N parts of about equal duration.")
@click.option("--retries", type=click.IntRange(0, 100), help="Try a test that fails N times more.")
@click.option("--since", metavar="REV", help="Run only the tests that changes since then affect.")
@click.option("--explain", is_flag=True, help="With --since: show why each test is run.")
@click.option(
    "--shadow", is_flag=True, help="With --since: run all tests, and show what would be missed."
)
def command(
    *,
    shard: str | None,
    retries: int | None,
    since: str | None,
    explain: bool,
    shadow: bool,
    arguments: tuple[str, ...],
    console: Console,
    **cell: Unpack[CellArguments],
) -> int:
    """Compile, then run the tests in CELL's runtime image; ARGUMENTs go to the test framework."""
    if since is None and (explain or shadow):
        option = "--explain" if explain else "--shadow"
        raise click.UsageError(f"`{option}` is about `--since REV`, which is not given")
    part = None if shard is None else Shard.parse(shard)
    tests = TestOptions(TestRequest(arguments, part, retries=retries), since, shadow)
    selected = Workspace.here(), cell["name"], cell["libraries"]
    if reason := unmet_in_cell(*selected, attrgetter("tested_on"), THIS_MACHINE.choose_gpu):
        return skip(reason)

    def show(result: TestResult) -> None:
        match result:
            case Compilation():
                show_products(result)
            case Selection():
                _show_selection(result, console, every_test=explain)
            case TestRun():
                show_outcomes(result)
            case str():
                output(result)

    return test_libraries(open_session(console, **cell), tests, options.today(), show)


def _show_selection(selection: Selection, console: Console, *, every_test: bool) -> None:
    """Show how many tests are run, and with `every_test` why each is."""
    count = "all tests" if selection.tests is None else number_of(len(selection.tests), "test")
    console.say(f"select   {count}: {selection.reason}")
    for name, reason in sorted((selection.tests or {}).items()) if every_test else ():
        output(f"selected {one_line(name)}: {one_line(reason)}")
