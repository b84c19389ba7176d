"""`envmatrix run`: what people do in a cell. nox sessions are these, one by one."""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from envmatrix.commands import options
from envmatrix.commands.place import Cell, Part, Which, alone, devices_of, for_each, skip
from envmatrix.console import Console, output
from envmatrix.engine import containers, images
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.matrix.model import Library
from envmatrix.results.recording import Recorder
from envmatrix.results.records import ARGUMENTS, BAD, SINCE
from envmatrix.sessions import steps
from envmatrix.sessions.execution import Execution, begin_anew
from envmatrix.sessions.fatbins import device_code, difference, is_probe
from envmatrix.sessions.outcomes import COUNTED, Artifact, TestOutcome
from envmatrix.sessions.runner import Skipped, clear_privileges
from envmatrix.sessions.steps import Workplace
from envmatrix.text import one_line

if TYPE_CHECKING:
    from docker.types import DeviceRequest

    from envmatrix.results.waivers import Waiver
    from envmatrix.sessions.testing import TestRun


# Of so many files it is told one by one that their GPU code is not what was asked for.
_MOST_WARNINGS = 5


class _Verbs(click.Group):
    """To examine takes programs that nothing else needs, so it is loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "analyse"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "analyse":
            from envmatrix.commands import analyse

            return analyse.command
        return super().get_command(ctx, cmd_name)


class _Passing(click.Command):
    """A verb that passes on what follows `--`, as `arguments`, and nothing else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, passed = args, []
        if "--" in args:
            place = args.index("--")
            own, passed = args[:place], args[place + 1 :]
        try:
            rest = super().parse_args(ctx, own)
        except click.UsageError as error:
            if isinstance(error, click.BadParameter):
                raise
            message = error.format_message().rstrip(".")
            explained = f"{message}; what is for the program that is run follows `--`"
            raise click.UsageError(explained, ctx) from error
        ctx.params["arguments"] = tuple(passed)
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENT...]"]


@click.group(cls=_Verbs, epilog="Example: envmatrix run test cuda13-x86_64")
def command() -> None:
    """Compile, test, examine or measure the libraries of matrix.yaml in a cell's container."""


_jobs = click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, 1024),
    help="Compile N at once; as many as processors and memory allow without it.",
)


# 1 PB: more is a slip of the hand, and beyond what the engine takes.
_MOST_MEMORY = 10**9

_memory = click.option(
    "--memory",
    metavar="MB",
    type=click.IntRange(64, _MOST_MEMORY),
    help="What a container may take; all that is available without it.",
)


def _cell_options(function: options.Decorated) -> options.Decorated:
    """Add what all of these share; the command gets `which` of it, and `console`."""

    @functools.wraps(function)
    def with_which(
        *,
        name: str,
        library: str | None,
        emulate: bool,
        jobs: int | None,
        memory: int | None,
        **others: Any,
    ) -> Any:
        return function(which=Which(name, library, emulate, jobs, memory), **others)

    library_option = click.option("--library", metavar="NAME", help="Only this library.")
    emulate_option = click.option("--emulate", is_flag=True, help="Compile under emulation.")
    decorated = library_option(emulate_option(_jobs(_memory(options.verbosity(with_which)))))
    return cast("options.Decorated", click.argument("name", metavar="CELL")(decorated))


@command.command("compile", epilog="Example: envmatrix run compile cuda12-aarch64")
@_cell_options
def compile_command(*, which: Which, console: Console) -> None:
    """Compile in CELL, and show what was made and where."""
    for_each(Cell.of(which, console, only_compiler=True), "compile", _compile)


@command.command(
    "test", cls=_Passing, epilog="Example: envmatrix run test cuda12-aarch64 -- -L host"
)
@_cell_options
@click.option("--shard", metavar="I/N", help="The I-th of N parts, of equal time as far as known.")
@click.option("--retries", type=click.IntRange(0, 100), help="Try a test that fails N times more.")
@click.option("--since", metavar="REV", help="Only tests that what changed since then reaches.")
@click.option("--explain", is_flag=True, help="With --since: why each test is run.")
@click.option("--shadow", is_flag=True, help="With --since: run all, and say what would be missed.")
def test_command(
    *,
    which: Which,
    shard: str | None,
    retries: int | None,
    since: str | None,
    explain: bool,
    shadow: bool,
    console: Console,
    arguments: Sequence[str],
) -> None:
    """Compile, then run the tests in CELL's runtime image; ARGUMENTs go to the test framework."""
    from envmatrix.commands import selecting
    from envmatrix.sessions.sharding import Shard
    from envmatrix.sessions.testing import Testing, TestRequest

    if since is None and (explain or shadow):
        option = "--explain" if explain else "--shadow"
        raise click.UsageError(f"`{option}` is about `--since REV`, which is not given")
    part = None if shard is None else Shard.parse(shard)
    cell = Cell.of(which, console)
    if arguments:
        _check_arguments(cell.libraries)

    def tested(execution: Execution, recorder: Recorder) -> None:
        _compile(execution, recorder)
        library = execution.place.library
        if library.is_only_compiled:
            execution.place.junit.unlink(missing_ok=True)
            output(f"no tests: `{library.name}` has `test: none`")
            return
        if library.tests is None:
            raise Skipped(f"library `{library.name}` has no `test` in matrix.yaml")
        if execution.place.runtime is None:
            raise Skipped(f"`{which.name}` is compiled; its tests run on hardware of its own only")
        durations = cell.durations(library) if part else {}
        testing = Testing(execution.runner, library.tests, devices_of(execution))
        found = None if since is None else selecting.selected(cell, execution, testing, since)
        if found is not None:
            selecting.explain(found, console, every_test=explain)
        only = None if found is None or shadow or found.tests is None else tuple(found.tests)
        asked = TestRequest(tuple(arguments), part, durations, retries, only)
        run = testing.run(asked)
        recorder.add_tests(run.outcomes)
        _tell(run)
        if found is not None and shadow:
            recorder.add_measurements(selecting.shadow(found, run.outcomes, console))
        _judge(run, execution, cell.waivers)

    extent = ARGUMENTS if arguments else SINCE if since is not None and not shadow else ""
    for_each(cell, "test", tested, Part(str(part or ""), extent))


@command.command("perf", cls=_Passing, epilog="Example: envmatrix run perf cuda13-x86_64")
@_cell_options
@click.option("--device", metavar="NAME", help="A qualified CDI device, such as nvidia.com/gpu=0.")
@options.as_json
def perf_command(
    *,
    which: Which,
    console: Console,
    device: str | None,
    as_json: bool,
    arguments: Sequence[str],
) -> None:
    """Run the benchmark in CELL with a GPU; without one, exit with 77 and say what is missing.
    ARGUMENTs go to the benchmark."""
    from envmatrix.engine import gpu

    with images.engine() as client:
        found = gpu.choose(gpu.probe(client), device)
    if isinstance(found, gpu.NoGpu):
        skip(f"no GPU for `{which.name}`: {found.reason}")
    cell = Cell.of(which, console)

    def measured(execution: Execution, recorder: Recorder) -> None:
        if execution.place.is_emulated:
            here = "a machine of its own architecture"
            raise Skipped(f"`{which.name}` can be measured only on {here}")
        _compile(execution, recorder)
        _measure(execution, recorder, gpu.request(found), arguments, as_json=as_json)

    for_each(cell, "perf", measured, Part(extent=ARGUMENTS if arguments else ""))


@command.command("shell", epilog="Example: envmatrix run shell cuda12-aarch64")
@_cell_options
def shell_command(*, which: Which, console: Console) -> None:
    """Open a shell in the container that CELL compiles in."""
    cell = Cell.of(which, console, only_compiler=True)
    if not sys.stdin.isatty():
        raise EnvmatrixError(
            "a shell needs a terminal", hint="run it from one, or use `run compile`"
        )
    place = cell.place(cell.libraries[0])
    with images.engine() as client, alone(place, "shell", console):
        begin_anew(place, console)
        status = containers.shell(client, steps.shell(place))
        clear_privileges(place, [place.build], console)
    sys.exit(status)


def _check_arguments(libraries: Sequence[Library]) -> None:
    """Raise where none of the libraries has tests that could take arguments."""
    if all(library.tests is None for library in libraries):
        names = ", ".join(f"`{library.name}`" for library in libraries)
        hint = "leave out what follows `--`"
        raise ConfigurationError(
            Problem(f"arguments are for a test framework, and {names} has no tests", hint=hint)
        )


def _compile(execution: Execution, recorder: Recorder) -> None:
    found = execution.compile()
    build = execution.place.build
    recorder.add_products(found, build.name)
    recorder.add_measurements(execution.cache_hits())
    for item in found:
        output(f"{build.shown(item.path)}  {item.machine or 'data'}  {item.size} bytes")
    if not execution.place.library.chooses_sm:
        _warn_of_architectures(found, execution)


def _warn_of_architectures(found: Sequence[Artifact], execution: Execution) -> None:
    """Say which files have code for other GPUs than the matrix asks for."""
    place, console = execution.place, execution.runner.console
    wrong = []
    with place.build.opened() as build:
        for item in (its for its in found if not is_probe(its.path)):
            with build.open(str(item.path)) as handle:
                words = difference(device_code(handle), place.cell.toolchain.sm)
            if words:
                wrong.append((item.path, words))
    for path, words in wrong[:_MOST_WARNINGS]:
        console.warn(f"`{place.build.shown(path)}` has other GPU code than `sm` asks for: {words}")
    if wrong:
        console.warn(
            f"`{place.library.name}` may ignore $CUDAARCHS; `{{sm}}` in its options, environment "
            "or commands passes `sm` on, and `sm: own` in matrix.yaml says that it is meant so"
        )


def _tell(run: TestRun) -> None:
    for outcome in run.outcomes:
        reason = f": {outcome.message}" if outcome.message else ""
        output(f"{outcome.state:8} {one_line(outcome.name)} {outcome.seconds:.2f} s{reason}")
    counts = Counter(outcome.state for outcome in run.outcomes)
    summary = ", ".join(f"{counts[state]} {state}" for state in COUNTED if counts[state])
    output(f"{summary or 'no test'}; {_shown(run.junit)}")


def _judge(run: TestRun, execution: Execution, waivers: Sequence[Waiver]) -> None:
    """Raise for what failed and is not waived, and where no test could run."""
    place = execution.place
    if run.failure:
        if not _are_waived(run.outcomes, place, waivers, execution.runner.console):
            raise run.failure
    elif run.outcomes and all(its.state == "skipped" for its in run.outcomes):
        raise Skipped(f"no test of `{place.library.name}` could run in `{place.cell.id}`")


def _are_waived(
    outcomes: Sequence[TestOutcome], place: Workplace, waivers: Sequence[Waiver], console: Console
) -> bool:
    """Whether all that failed is waived; each is told."""
    from envmatrix.results.waivers import waiver_of

    bad = [its for its in outcomes if its.state in BAD]
    library, cell, today = place.library.name, place.cell.id, options.today()
    found = [waiver_of(waivers, library, cell, its.name, today) for its in bad]
    for outcome, waiver in zip(bad, found, strict=True):
        if waiver is not None:
            console.warn(
                f"`{one_line(outcome.name)}` fails, and is waived: {waiver.bug}, {waiver.owner}"
            )
    return bool(bad) and all(found)


def _measure(
    execution: Execution,
    recorder: Recorder,
    device: DeviceRequest,
    arguments: Sequence[str],
    *,
    as_json: bool,
) -> None:
    found = execution.measure(device, arguments)
    recorder.add_measurements(found)
    if as_json:
        options.print_json([asdict(item) for item in found])
        return
    for item in found:
        output(f"{item.name:24} {item.value:12.4g} {item.unit} ({item.direction} is better)")


def _shown(path: Path) -> str:
    return os.path.relpath(path)
