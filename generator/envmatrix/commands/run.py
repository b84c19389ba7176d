"""`envmatrix run`: work in a cell. Each nox session runs one of these verbs."""

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

from envmatrix.app.cell_runs import CellOptions, CellSession, Part, gpus_of, lock_build
from envmatrix.commands import options
from envmatrix.commands.cell_work import for_each, skip
from envmatrix.console import Console, output
from envmatrix.engine import docker_client
from envmatrix.engine.containers import Containers
from envmatrix.engine.tasks import Gpus
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.matrix.library import Library
from envmatrix.results.recorder import Recorder
from envmatrix.results.records import ARGUMENTS, BAD, SINCE
from envmatrix.sessions import tasks
from envmatrix.sessions.buildsystems.cmake import is_probe
from envmatrix.sessions.compilation import cache_hits, clear_outdated, compile_library
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.fatbins import device_code, difference
from envmatrix.sessions.outcomes import COUNTED, TestOutcome
from envmatrix.sessions.products import Product
from envmatrix.sessions.runner import Runner, clear_privileges
from envmatrix.text import one_line

if TYPE_CHECKING:
    from envmatrix.results.waivers import Waiver
    from envmatrix.sessions.testing import TestRun


# At most so many files are listed whose GPU code differs from `sm`.
_MOST_WARNINGS = 5


class _Verbs(click.Group):
    """The verbs of `run`; `analyse` is loaded on demand: nothing else needs its modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "analyse"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "analyse":
            from envmatrix.commands import analyse

            return analyse.command
        return super().get_command(ctx, cmd_name)


class _Passing(click.Command):
    """A verb that passes on what follows `--`, as `arguments`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own_args, passed_args = args, []
        if "--" in args:
            separator = args.index("--")
            own_args, passed_args = args[:separator], args[separator + 1 :]
        try:
            rest = super().parse_args(ctx, own_args)
        except click.UsageError as error:
            if isinstance(error, click.BadParameter):
                raise
            message = error.format_message().rstrip(".")
            explained = f"{message}; what is for the program that is run follows `--`"
            raise click.UsageError(explained, ctx) from error
        ctx.params["arguments"] = tuple(passed_args)
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
    help="Compile N at once; by default as many as processors and memory allow.",
)


# 1 PB: more is a typing error, and beyond what the engine accepts.
_MOST_MEMORY = 10**9

_memory = click.option(
    "--memory",
    metavar="MB",
    type=click.IntRange(64, _MOST_MEMORY),
    help="The memory limit of a container; all that is available by default.",
)


def _cell_options(function: options.Decorated) -> options.Decorated:
    """Add the options that all verbs share; the command gets `cell_options` and `console`."""

    @functools.wraps(function)
    def with_cell_options(
        *,
        name: str,
        library: str | None,
        emulate: bool,
        jobs: int | None,
        memory: int | None,
        **others: Any,
    ) -> Any:
        cell_options = CellOptions(name, library, emulate, jobs, memory)
        return function(cell_options=cell_options, **others)

    library_option = click.option("--library", metavar="NAME", help="Only this library.")
    emulate_option = click.option("--emulate", is_flag=True, help="Compile under emulation.")
    decorated = library_option(emulate_option(_jobs(_memory(options.verbosity(with_cell_options)))))
    return cast("options.Decorated", click.argument("name", metavar="CELL")(decorated))


@command.command("compile", epilog="Example: envmatrix run compile cuda12-aarch64")
@_cell_options
def compile_command(*, cell_options: CellOptions, console: Console) -> None:
    """Compile in CELL, and show each product with its path."""
    for_each(CellSession.of(cell_options, console, only_compiler=True), "compile", _compile)


@command.command(
    "test", cls=_Passing, epilog="Example: envmatrix run test cuda12-aarch64 -- -L host"
)
@_cell_options
@click.option("--shard", metavar="I/N", help="Run the I-th of N parts of about equal duration.")
@click.option("--retries", type=click.IntRange(0, 100), help="Try a test that fails N times more.")
@click.option("--since", metavar="REV", help="Run only the tests that changes since then affect.")
@click.option("--explain", is_flag=True, help="With --since: show why each test is run.")
@click.option(
    "--shadow", is_flag=True, help="With --since: run all tests, and show what would be missed."
)
def test_command(
    *,
    cell_options: CellOptions,
    shard: str | None,
    retries: int | None,
    since: str | None,
    explain: bool,
    shadow: bool,
    console: Console,
    arguments: Sequence[str],
) -> None:
    """Compile, then run the tests in CELL's runtime image; ARGUMENTs go to the test framework."""
    from envmatrix.app import test_selection
    from envmatrix.sessions.sharding import Shard
    from envmatrix.sessions.testing import Testing, TestRequest

    if since is None and (explain or shadow):
        option = "--explain" if explain else "--shadow"
        raise click.UsageError(f"`{option}` is about `--since REV`, which is not given")
    part = None if shard is None else Shard.parse(shard)
    session = CellSession.of(cell_options, console)
    if arguments:
        _check_arguments(session.libraries)

    def test(runner: Runner, recorder: Recorder) -> None:
        _compile(runner, recorder)
        library = runner.context.library
        if library.is_only_compiled:
            runner.context.junit.unlink(missing_ok=True)
            output(f"no tests: `{library.name}` has `test: none`")
            return
        if library.tests is None:
            raise Skipped(f"library `{library.name}` has no `test` in matrix.yaml")
        if runner.context.runtime is None:
            raise Skipped(
                f"`{cell_options.name}` is compiled; its tests run on hardware of its own only"
            )
        durations = session.durations(library) if part else {}
        testing = Testing(runner, library.tests, gpus_of(runner.context))
        selection = None
        if since is not None:
            selection = test_selection.select_tests(session, testing, since)
        if selection is not None:
            test_selection.explain(selection, console, every_test=explain)
        tests = None if selection is None or shadow else selection.tests
        only = None if tests is None else tuple(tests)
        run = testing.run(TestRequest(tuple(arguments), part, durations, retries, only))
        recorder.add_tests(run.outcomes)
        _print_outcomes(run)
        if selection is not None and shadow:
            recorder.add_measurements(test_selection.shadow(selection, run.outcomes, console))
        _judge(run, runner, session.waivers)

    extent = ARGUMENTS if arguments else SINCE if since is not None and not shadow else ""
    for_each(session, "test", test, Part(str(part or ""), extent))


@command.command("perf", cls=_Passing, epilog="Example: envmatrix run perf cuda13-x86_64")
@_cell_options
@click.option("--device", metavar="NAME", help="A qualified CDI device, such as nvidia.com/gpu=0.")
@options.as_json
def perf_command(
    *,
    cell_options: CellOptions,
    console: Console,
    device: str | None,
    as_json: bool,
    arguments: Sequence[str],
) -> None:
    """Run the benchmark in CELL with a GPU; without a GPU, exit with 77 and say what is missing.
    ARGUMENTs go to the benchmark."""
    from envmatrix.engine import gpu

    with docker_client.connect() as client:
        gpus = gpu.choose(gpu.probe_gpu(client), device)
    if isinstance(gpus, gpu.NoGpu):
        skip(f"no GPU for `{cell_options.name}`: {gpus.reason}")
    session = CellSession.of(cell_options, console)

    def measure(runner: Runner, recorder: Recorder) -> None:
        if runner.context.is_emulated:
            here = "a machine of its own architecture"
            raise Skipped(f"`{cell_options.name}` can be measured only on {here}")
        _compile(runner, recorder)
        _measure(runner, recorder, gpus, arguments, as_json=as_json)

    for_each(session, "perf", measure, Part(extent=ARGUMENTS if arguments else ""))


@command.command("shell", epilog="Example: envmatrix run shell cuda12-aarch64")
@_cell_options
def shell_command(*, cell_options: CellOptions, console: Console) -> None:
    """Open a shell in the container that CELL compiles in."""
    session = CellSession.of(cell_options, console, only_compiler=True)
    if not sys.stdin.isatty():
        raise EnvmatrixError(
            "a shell needs a terminal", hint="run it from one, or use `run compile`"
        )
    context = session.context(session.libraries[0])
    with docker_client.connect() as client, lock_build(context, "shell", console):
        clear_outdated(context, console)
        status = Containers(client).run_at_terminal(tasks.shell(context))
        clear_privileges(context, [context.build], console)
    sys.exit(status)


def _check_arguments(libraries: Sequence[Library]) -> None:
    """Raise ConfigurationError if no library has tests that could take arguments."""
    if all(library.tests is None for library in libraries):
        names = ", ".join(f"`{library.name}`" for library in libraries)
        hint = "leave out what follows `--`"
        raise ConfigurationError(
            Problem(f"arguments are for a test framework, and {names} has no tests", hint=hint)
        )


def _compile(runner: Runner, recorder: Recorder) -> None:
    products = compile_library(runner)
    build = runner.context.build
    recorder.add_products(products, build.name)
    with build.opened() as directory:
        recorder.add_measurements(cache_hits(directory))
    for product in products:
        output(f"{build.shown(product.path)}  {product.machine or 'data'}  {product.size} bytes")
    if not runner.context.library.chooses_sm:
        _warn_of_architectures(products, runner)


def _warn_of_architectures(products: Sequence[Product], runner: Runner) -> None:
    """Warn of each file with code for other GPUs than `sm` of the matrix."""
    context, console = runner.context, runner.console
    mismatches = []
    with context.build.opened() as build:
        for path in (product.path for product in products if not is_probe(product.path)):
            with build.open(path) as handle:
                words = difference(device_code(handle), context.cell.toolchain.sm)
            if words:
                mismatches.append((path, words))
    for path, words in mismatches[:_MOST_WARNINGS]:
        console.warn(
            f"`{context.build.shown(path)}` has other GPU code than `sm` asks for: {words}"
        )
    if mismatches:
        console.warn(
            f"`{context.library.name}` may ignore $CUDAARCHS; `{{sm}}` in its options, environment "
            "or commands passes `sm` on, and `sm: own` in matrix.yaml says that it is meant so"
        )


def _print_outcomes(run: TestRun) -> None:
    for outcome in run.outcomes:
        reason = f": {outcome.message}" if outcome.message else ""
        output(f"{outcome.state:8} {one_line(outcome.name)} {outcome.seconds:.2f} s{reason}")
    counts = Counter(outcome.state for outcome in run.outcomes)
    summary = ", ".join(f"{counts[state]} {state}" for state in COUNTED if counts[state])
    output(f"{summary or 'no test'}; {_shown(run.junit)}")


def _judge(run: TestRun, runner: Runner, waivers: Sequence[Waiver]) -> None:
    """Raise for failures that are not waived, and Skipped if no test could run."""
    context = runner.context
    if run.failure:
        if not _are_waived(run.outcomes, context, waivers, runner.console):
            raise run.failure
    elif run.outcomes and all(outcome.state == "skipped" for outcome in run.outcomes):
        raise Skipped(f"no test of `{context.library.name}` could run in `{context.cell.id}`")


def _are_waived(
    outcomes: Sequence[TestOutcome],
    context: BuildContext,
    waivers: Sequence[Waiver],
    console: Console,
) -> bool:
    """Return True if every failure is waived; warn of each waiver."""
    from envmatrix.results.waivers import waiver_of

    failures = [outcome for outcome in outcomes if outcome.state in BAD]
    library, cell, today = context.library.name, context.cell.id, options.today()
    matches = [waiver_of(waivers, library, cell, failure.name, today) for failure in failures]
    for outcome, waiver in zip(failures, matches, strict=True):
        if waiver is not None:
            console.warn(
                f"`{one_line(outcome.name)}` fails, and is waived: {waiver.bug}, {waiver.owner}"
            )
    return bool(failures) and all(matches)


def _measure(
    runner: Runner,
    recorder: Recorder,
    gpus: Gpus,
    arguments: Sequence[str],
    *,
    as_json: bool,
) -> None:
    from envmatrix.sessions import benchmark

    measurements = benchmark.measure(runner, gpus, arguments)
    recorder.add_measurements(measurements)
    if as_json:
        options.print_json([asdict(item) for item in measurements])
        return
    for item in measurements:
        output(f"{item.name:24} {item.value:12.4g} {item.unit} ({item.direction} is better)")


def _shown(path: Path) -> str:
    return os.path.relpath(path)
