"""Options that verbs share, and the day that the command line was called on."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from envmatrix.commands import display
from envmatrix.commands.completions import (
    complete_cell,
    complete_cells,
    complete_library,
    complete_place,
)
from envmatrix.console import Console
from envmatrix.errors import SKIPPED, EnvmatrixError
from envmatrix.machine.resources import BUILDS
from envmatrix.matrix.tier_names import TIERS
from envmatrix.text import seconds_of

if TYPE_CHECKING:
    from envmatrix.facts.model import Facts
    from envmatrix.matrix.cells import Candidate

# How a command ends, by what it returns.
_ENDS: Mapping[int | None, str] = {None: "done", 0: "done", SKIPPED: "skipped"}

# 1 PB: more is a typing error, and beyond what the engine accepts.
_MOST_MEMORY = 10**9

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

select = click.option(
    "--select",
    "-s",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_cells,
    help="Only these cells: ids, short names, environments, or patterns such as 'cuda13*'.",
)
library = click.option(
    "--library",
    "libraries",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_library,
    help="Only this library or variant, NAME@VARIANT; may be given several times.",
)
tier = click.option(
    "--tier",
    type=click.Choice(TIERS),
    help="Only the cells that run on this occasion; see `tiers` in matrix.yaml.",
)
since = click.option(
    "--since", metavar="REV", help="Only what changes since this git revision affect."
)
dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, do nothing.")
jobs = click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, 64),
    default=BUILDS,
    show_default=True,
    help="At most N at once.",
)


def as_json(command: Decorated) -> Decorated:
    """Add --json; an error is a document as well, unless the command has shown its result."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @functools.wraps(command)
    def with_document(*, as_json: bool, **arguments: Any) -> Any:
        try:
            return command(as_json=as_json, **arguments)
        except EnvmatrixError as error:
            if as_json:
                display.show_error(error)
            raise

    return cast("Decorated", with_document)


def cells(command: Decorated) -> Decorated:
    """Add CELL... and --select; the command gets the `patterns` of both."""

    @select
    @click.argument("names", metavar="[CELL]...", nargs=-1, shell_complete=complete_cells)
    @functools.wraps(command)
    def with_cells(*, names: Sequence[str], patterns: Sequence[str], **arguments: Any) -> Any:
        return command(patterns=(*names, *patterns), **arguments)

    return cast("Decorated", with_cells)


def verbosity(command: Decorated) -> Decorated:
    """Add -v and -q; the command gets a `console`, on which its time is said at the end."""
    return _console(_timed(command))


def _timed(command: Decorated) -> Decorated:
    """Say how a command ended, and after which time, if people have waited for it."""

    @functools.wraps(command)
    def with_time(*, console: Console, **arguments: Any) -> Any:
        started = time.monotonic()
        try:
            status = command(console=console, **arguments)
        except EnvmatrixError as error:
            if console.verbosity >= 0:
                error.seconds = time.monotonic() - started
            raise
        console.say_end(_ENDS.get(status, "failed"), time.monotonic() - started)
        return status

    return cast("Decorated", with_time)


def _console(command: Decorated) -> Decorated:
    """Add -v and -q; the command gets a `console`."""

    @click.option("--quiet", "-q", is_flag=True, help="Say only what is wrong.")
    @click.option("--verbose", "-v", is_flag=True, help="Say more.")
    @functools.wraps(command)
    def with_console(*, verbose: bool, quiet: bool, **arguments: Any) -> Any:
        return command(console=Console(verbose - quiet), **arguments)

    return cast("Decorated", with_console)


def reporting(command: Decorated) -> Decorated:
    """Add --json, -v and -q; the command gets `as_json` and a `console`."""
    return as_json(verbosity(command))


def cell(command: Decorated) -> Decorated:
    """Add CELL and the options of all verbs that work in it; the command gets `CellArguments`, and
    a `console`."""
    return _in_cell(verbosity(command))


def _in_cell(decorated: Decorated) -> Decorated:
    for option in (
        click.option(
            "--memory",
            metavar="MB",
            type=click.IntRange(64, _MOST_MEMORY),
            help="The memory limit of a container; all that is available by default.",
        ),
        click.option(
            "--jobs",
            "-j",
            type=click.IntRange(1, 1024),
            help="Compile N at once; by default as many as processors and memory allow.",
        ),
        click.option("--emulate", is_flag=True, help="Compile under emulation."),
        library,
        click.argument("name", metavar="CELL", shell_complete=complete_cell),
    ):
        decorated = option(decorated)
    return decorated


def by_hand(command: Decorated) -> Decorated:
    """Add --runtime, --dev, --gpu, and what `cell` adds; the user decides when the command ends."""
    gpu = click.option("--gpu", "has_gpu", is_flag=True, help="Pass the GPUs of this machine.")
    runtime = click.option(
        "--runtime",
        "purpose",
        flag_value="runtime",
        default="compiler",
        help="In the image that tests run in.",
    )
    dev = click.option(
        "--dev",
        "purpose",
        flag_value="dev",
        default="compiler",
        help="With a debugger, git and an editor: the image `dev`.",
    )
    return _in_cell(_console(gpu(runtime(dev(command)))))


def jobs_of_cells(command: Decorated) -> Decorated:
    """Add the options of verbs that run jobs in many cells; the command gets `JobArguments`."""
    decorated = budget(as_json(_console(command)))  # their report has the time
    for option in (
        click.option(
            "--shadow",
            "checked",
            metavar="PERCENT",
            type=click.IntRange(0, 100),
            default=0,
            callback=lambda _context, _option, percent: percent / 100,
            help="Run some of the jobs again that need not run, and report contradictions.",
        ),
        click.option(
            "--rerun-failed",
            "rerun",
            flag_value="failed",
            default="none",
            help="Run only the jobs that failed before.",
        ),
        click.option(
            "--rerun", "rerun", flag_value="all", default="none", help="Run all jobs again."
        ),
        click.option(
            "--on",
            "place",
            metavar="PLACE",
            shell_complete=complete_place,
            help="Run containers there: `kubernetes`, or a Docker context.",
        ),
        click.option(
            "--timeline",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            callback=_in_a_directory,
            help="Draw when each job ran, as SVG.",
        ),
        click.option("--fail-fast", "fails_fast", is_flag=True, help="End at the first failure."),
        click.option(
            "--jobs",
            "-j",
            "most",
            type=click.IntRange(1, 1024),
            help="At most N jobs at once; by default as many as the machine has resources for.",
        ),
        since,
        library,
        tier,
        cells,
    ):
        decorated = option(decorated)
    return decorated


def budget(command: Decorated) -> Decorated:
    """Add --time and --gpu-minutes; the command gets a `budget`."""

    @click.option(
        "--gpu-minutes",
        metavar="N",
        type=click.IntRange(min=0),
        help="Only the most valuable jobs that use GPUs for N minutes in all.",
    )
    @click.option(
        "--time",
        "seconds",
        metavar="DURATION",
        callback=_seconds,
        help="Only the most valuable jobs that this machine does in this time, such as 30m.",
    )
    @functools.wraps(command)
    def with_budget(*, seconds: float | None, gpu_minutes: int | None, **arguments: Any) -> Any:
        from envmatrix.jobs.budget import Budget

        gpu_seconds = None if gpu_minutes is None else gpu_minutes * 60
        return command(budget=Budget(seconds, gpu_seconds), **arguments)

    return cast("Decorated", with_budget)


def comparing(command: Decorated) -> Decorated:
    """Add the limits of comparisons: --pairs, --time, --margin; the command gets `limits`, and
    `seconds` to measure."""

    @click.option(
        "--pairs",
        type=click.IntRange(8, 1000),
        default=32,
        show_default=True,
        help="Compare by at most so many pairs of runs; by fewer once all results are clear.",
    )
    @click.option(
        "--time",
        "seconds",
        metavar="DURATION",
        default="20m",
        show_default=True,
        callback=_seconds,
        help="Measure for at most so long.",
    )
    @click.option(
        "--margin",
        type=click.FloatRange(0, 100, min_open=True),
        default=0.5,
        show_default=True,
        help="Changes within so many percent are none.",
    )
    @functools.wraps(command)
    def with_limits(*, pairs: int, margin: float, **arguments: Any) -> Any:
        from envmatrix.comparison.model import Limits  # not for `--help`

        return command(limits=Limits(margin / 100, pairs), **arguments)

    return cast("Decorated", with_limits)


def _in_a_directory(
    _context: click.Context, _option: click.Parameter, file: Path | None
) -> Path | None:
    if file is not None and not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory `{file.parent}`")
    return file


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    seconds = seconds_of(text)
    if seconds is None:
        raise click.BadParameter(f"`{text}` is no duration; write for example 90s, 30m or 1h30m")
    return seconds


class Passing(click.Command):
    """A verb that passes on what follows `--`, as `arguments`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        separator = args.index("--") if "--" in args else len(args)
        try:
            rest = super().parse_args(ctx, args[:separator])
        except click.UsageError as error:
            if isinstance(error, click.BadParameter):
                raise
            message = error.format_message().rstrip(".")
            explained = f"{message}; what is for the program that is run follows `--`"
            raise click.UsageError(explained, ctx) from error
        ctx.params["arguments"] = tuple(args[separator + 1 :])
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENT...]"]


def today() -> date:
    """Return the date that the command line passed to the verb."""
    day = click.get_current_context().find_object(date)
    assert isinstance(day, date)  # noqa: S101
    return day


def warn_of_ends(cells: Sequence[Candidate], facts: Facts, console: Console) -> None:
    """Warn of systems and releases of `cells` that reached, or will soon reach, end of support."""
    from envmatrix.matrix.lifetime import lifetimes

    for lifetime in lifetimes(cells, facts):
        if warning := lifetime.warning(today()):
            console.warn(warning)
