"""Options and functions that verbs share: repository, selection, and output."""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from envmatrix.console import Console, output_json
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix.cells import TIERS, Cell
from envmatrix.matrix.facts import Facts
from envmatrix.matrix.files import MATRIX
from envmatrix.matrix.lifetime import lifetimes
from envmatrix.matrix.targets import machine_called

# How many images are built at once by default.
JOBS = 2

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
    default=JOBS,
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


def repository() -> Path:
    """Return the nearest directory with a matrix.yaml, from here upwards."""
    current = Path.cwd()
    for directory in (current, *current.parents):
        if (directory / MATRIX).exists():
            return directory
    raise ConfigurationError(
        Problem(f"there is no `{MATRIX}` here or above", hint="change to your repository")
    )


def today() -> date:
    """Return the date that the command line passed to the verb."""
    day = click.get_current_context().find_object(date)
    assert isinstance(day, date)  # noqa: S101
    return day


def warn_of_ends(cells: Sequence[Cell], facts: Facts, console: Console) -> None:
    """Warn of systems and releases of `cells` that reached, or will soon reach, end of support."""
    for lifetime in lifetimes(cells, facts):
        if warning := lifetime.warning(today()):
            console.warn(warning)


def print_json(document: object) -> None:
    output_json(json.dumps(document, indent=2))


def host_arch() -> str:
    """Return Docker's name of this machine's architecture."""
    machine = machine_called(uname=platform.machine())
    return machine.docker if machine else platform.machine()
