"""Options and functions that verbs share: repository, selection, and output."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, TypeVar, cast

import click

from envmatrix.app.images import BUILDS_AT_ONCE
from envmatrix.console import Console, output_json
from envmatrix.facts.model import Facts
from envmatrix.matrix.cells import TIERS, Candidate
from envmatrix.matrix.lifetime import lifetimes

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

select = click.option(
    "--select",
    "-s",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only these cells: ids, short names, environments, or patterns such as 'cuda13*'.",
)
tier = click.option(
    "--tier",
    type=click.Choice(TIERS),
    help="Only the cells that run on this occasion; see docs/matrix.md.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, do nothing.")
jobs = click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, 64),
    default=BUILDS_AT_ONCE,
    show_default=True,
    help="At most N at once.",
)


def verbosity(command: Decorated) -> Decorated:
    """Add -v and -q; the command gets a `console`."""

    @functools.wraps(command)
    def with_console(*, verbose: bool, quiet: bool, **arguments: Any) -> Any:
        return command(console=Console(verbose - quiet), **arguments)

    options = (
        click.option("--verbose", "-v", is_flag=True, help="Say more."),
        click.option("--quiet", "-q", is_flag=True, help="Say only what is wrong."),
    )
    for option in options:
        with_console = option(with_console)
    return cast("Decorated", with_console)


def today() -> date:
    """Return the date that the command line passed to the verb."""
    day = click.get_current_context().find_object(date)
    assert isinstance(day, date)  # noqa: S101
    return day


def warn_of_ends(cells: Sequence[Candidate], facts: Facts, console: Console) -> None:
    """Warn of systems and releases of `cells` that reached, or will soon reach, end of support."""
    for lifetime in lifetimes(cells, facts):
        if warning := lifetime.warning(today()):
            console.warn(warning)


def print_json(document: object) -> None:
    output_json(json.dumps(document, indent=2))
