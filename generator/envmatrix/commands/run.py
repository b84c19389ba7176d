"""`envmatrix run`: what people do in a cell. nox sessions are these, one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import click

from envmatrix.commands import options
from envmatrix.commands.build import planned, provide
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import containers, gpu, images
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.matrix.model import Library, PlannedCell
from envmatrix.matrix.selection import find_cell
from envmatrix.matrix.targets import TARGETS
from envmatrix.plan.environments import images_of, lacks_cross
from envmatrix.sessions import steps
from envmatrix.sessions.execution import SKIPPED, Execution, Skipped
from envmatrix.sessions.steps import Workplace
from envmatrix.store.artifacts import cache_directory
from envmatrix.store.origins import Origins


@click.group(epilog="Example: envmatrix run test cuda13-x86_64")
def command() -> None:
    """Compile, test or measure the libraries of matrix.yaml in a cell's container."""


def _cell_options(function: options.Decorated) -> options.Decorated:
    library = click.option("--library", metavar="NAME", help="Only this library.")
    emulate = click.option("--emulate", is_flag=True, help="Compile under emulation.")
    return click.argument("name", metavar="CELL")(
        library(emulate(options.jobs(options.verbosity(function))))
    )


@command.command("compile", epilog="Example: envmatrix run compile cuda12-aarch64")
@_cell_options
def compile_command(
    *, name: str, library: str | None, emulate: bool, jobs: int, console: Console
) -> None:
    """Compile in CELL, and show what was made and where."""
    which = _Which(name, library, emulate, only_compiler=True)
    for execution in _executions(which, jobs, console):
        _compile(execution)


@command.command("test", epilog="Example: envmatrix run test cuda12-aarch64 -- -L host")
@_cell_options
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test_command(
    *,
    name: str,
    library: str | None,
    emulate: bool,
    jobs: int,
    console: Console,
    arguments: Sequence[str],
) -> None:
    """Compile, then run the tests in CELL's runtime image; ARGUMENTS go to CTest."""
    runs_here = True
    for execution in _executions(_Which(name, library, emulate), jobs, console):
        _compile(execution)
        runs_here = execution.place.runtime is not None
        if runs_here:
            _test(execution, arguments)
    if not runs_here:
        _skip(f"`{name}` is compiled; its tests run on hardware of its own only")


@command.command("perf", epilog="Example: envmatrix run perf cuda13-x86_64")
@_cell_options
@click.option("--device", metavar="NAME", help="A qualified CDI device, such as nvidia.com/gpu=0.")
@options.as_json
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def perf_command(
    *,
    name: str,
    library: str | None,
    emulate: bool,
    jobs: int,
    console: Console,
    device: str | None,
    as_json: bool,
    arguments: Sequence[str],
) -> None:
    """Run the benchmark in CELL with a GPU; without one, exit with 77 and say what is missing."""
    with images.engine() as client:
        chosen = gpu.choose(gpu.probe(client), device)
    if isinstance(chosen, gpu.NoGpu):
        _skip(f"no GPU for `{name}`: {chosen.reason}")
    for execution in _executions(_Which(name, library, emulate), jobs, console):
        if execution.place.is_emulated:
            _skip(f"`{name}` can be measured only on a machine of its own architecture")
        _compile(execution)
        try:
            _measure(execution, chosen, arguments, as_json=as_json)
        except Skipped as skipped:
            _skip(skipped.message)


@command.command("shell", epilog="Example: envmatrix run shell cuda12-aarch64")
@_cell_options
def shell_command(
    *, name: str, library: str | None, emulate: bool, jobs: int, console: Console
) -> None:
    """Open a shell in the container that CELL compiles in."""
    which = _Which(name, library, emulate, only_compiler=True)
    place = next(_executions(which, jobs, console)).place
    place.build.mkdir(parents=True, exist_ok=True)
    place.ccache.mkdir(parents=True, exist_ok=True)
    if not sys.stdin.isatty():
        raise EnvmatrixError(
            "a shell needs a terminal", hint="run it from one, or use `run compile`"
        )
    sys.exit(subprocess.call(containers.shell_command(steps.shell(place))))


@dataclass(frozen=True, slots=True)
class _Which:
    """What was asked for. `only_compiler`: nothing will run, so no runtime image is needed."""

    name: str
    library: str | None
    emulate: bool
    only_compiler: bool = False


def _executions(which: _Which, jobs: int, console: Console) -> Iterator[Execution]:
    """The libraries in the cell, its images built before the first."""
    workspace = Workspace.here()
    cell = find_cell(workspace.matrix, which.name)
    host_arch = options.host_arch()
    if lacks_cross(cell, host_arch) and not which.emulate:
        raise EnvmatrixError(
            f"`{cell.id}` has no flavour `cross`: its CUDA is in an image of its own architecture, "
            "or its system has no cross compiler",
            hint="compile it under emulation: `--emulate`",
        )
    libraries = _libraries(workspace, which.library, cell)
    sdk = TARGETS[cell.cell.arch].sdk
    directory = Origins().sdk(sdk) if sdk else None
    compiler, *others = images_of(cell, host_arch, emulate=which.emulate)
    needed = [compiler, *([] if which.only_compiler else others)]
    actions = planned(workspace, needed, console)
    provide(workspace, actions, jobs, console)
    names = {action.image: action.inputs.reference for _, action in actions}
    with images.engine() as client:
        for library in libraries:
            place = Workplace(
                cell=cell,
                library=library,
                root=workspace.root,
                ccache=cache_directory() / "ccache" / cell.id,
                compiler=compiler,
                runtime=next(iter(others), None),
                names=names,
                host_arch=host_arch,
                has_ccache=workspace.matrix.has_package("ccache", cell.cell.os),
                sdk=directory,
            )
            yield Execution(client, place, console, jobs)


def _libraries(workspace: Workspace, name: str | None, cell: PlannedCell) -> tuple[Library, ...]:
    """That of a name, or all that can be compiled in the cell."""
    known = tuple(its for its in workspace.matrix.libraries if its.suits(cell.cell.arch))
    if name in {its.name for its in workspace.matrix.libraries} - {its.name for its in known}:
        message = f"library `{name}` needs CUDA, and `{cell.id}` has none"
        hint = "if it needs none, say so in matrix.yaml: `cuda: none`"
        raise ConfigurationError(Problem(message, hint=hint))
    if name is None and known:
        return known
    chosen = tuple(item for item in known if item.name == name)
    if not chosen:
        names = ", ".join(f"`{item.name}`" for item in known) or "none"
        raise ConfigurationError(
            Problem(f"matrix.yaml has no library `{name}`", hint=f"it has {names}")
            if name
            else Problem("matrix.yaml lists no libraries", hint="add one under `libraries:`")
        )
    missing = [item for item in chosen if not (workspace.root / item.path).is_dir()]
    if missing:
        raise ConfigurationError(Problem(f"there is no directory `{missing[0].path}`"))
    return chosen


def _compile(execution: Execution) -> None:
    for item in execution.compile():
        click.echo(f"{_shown(item.path)}  {item.machine or 'data'}  {item.size} bytes")


def _test(execution: Execution, arguments: Sequence[str]) -> None:
    found = gpu.choose(gpu.probe(execution.client))
    devices = []
    if isinstance(found, gpu.Passthrough) and not execution.place.is_emulated:
        devices = [gpu.request(found)]
    run = execution.test(devices, arguments)
    for outcome in run.outcomes:
        reason = f": {outcome.message}" if outcome.message else ""
        click.echo(f"{outcome.state:8} {outcome.name} {outcome.seconds:.2f} s{reason}")
    counts = Counter(outcome.state for outcome in run.outcomes)
    summary = ", ".join(f"{counts[state]} {state}" for state in ("passed", "failed", "skipped"))
    click.echo(f"{summary}; {_shown(run.junit)}")
    if run.failure:
        raise run.failure
    if not counts["passed"]:
        raise EnvmatrixError("no test ran", hint=f"look at {_shown(run.junit)}")


def _measure(
    execution: Execution,
    device: gpu.Passthrough,
    arguments: Sequence[str],
    *,
    as_json: bool,
) -> None:
    found = execution.measure(gpu.request(device), arguments)
    if as_json:
        options.print_json([asdict(item) for item in found])
        return
    for item in found:
        click.echo(f"{item.name:24} {item.value:12.4g} {item.unit} ({item.direction} is better)")


def _skip(reason: str) -> NoReturn:
    click.echo(f"skipped: {reason}", err=True)
    sys.exit(SKIPPED)


def _shown(path: Path) -> str:
    return os.path.relpath(path)
