"""`envmatrix run`: what people do in a cell. nox sessions are these, one by one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envmatrix.commands import options
from envmatrix.commands.build import build_images, planned
from envmatrix.commands.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import containers, gpu, images
from envmatrix.engine.containers import ContainerSpec
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.matrix.model import Library
from envmatrix.matrix.selection import find_cell
from envmatrix.plan.environments import images_of
from envmatrix.sessions import outcomes, steps
from envmatrix.sessions.steps import Workplace
from envmatrix.store.artifacts import cache_directory

if TYPE_CHECKING:
    import docker


# The exit status of a test or benchmark that could not run, as CTest and automake have it.
SKIPPED = 77

_LAST_LINES = 60


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
    for place in _places(which, jobs, console):
        _compile(place, jobs, console)


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
    for place in _places(_Which(name, library, emulate), jobs, console):
        _compile(place, jobs, console)
        _test(place, arguments, console)


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
        console.say(f"skipped: no GPU for `{name}`: {chosen.reason}")
        sys.exit(SKIPPED)
    for place in _places(_Which(name, library, emulate), jobs, console):
        if place.runtime.arch != place.host_arch:
            console.say(f"skipped: `{name}` needs a machine of its own architecture to be measured")
            sys.exit(SKIPPED)
        _compile(place, jobs, console)
        _measure(place, chosen, arguments, console, as_json=as_json)


@command.command("shell", epilog="Example: envmatrix run shell cuda12-aarch64")
@_cell_options
def shell_command(
    *, name: str, library: str | None, emulate: bool, jobs: int, console: Console
) -> None:
    """Open a shell in the container that CELL compiles in."""
    place = _places(_Which(name, library, emulate, only_compiler=True), jobs, console)[0]
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


def _places(which: _Which, jobs: int, console: Console) -> tuple[Workplace, ...]:
    """The libraries in the cell, whose images are built when this returns."""
    workspace = Workspace.here()
    cell = find_cell(workspace.matrix, which.name)
    libraries = _libraries(workspace, which.library)
    compiler, runtime = images_of(cell, options.host_arch(), emulate=which.emulate)
    needed = (compiler,) if which.only_compiler else (compiler, runtime)
    build_images(workspace, planned(workspace, needed), jobs, console)
    return tuple(
        Workplace(
            cell=cell,
            library=library,
            root=workspace.root,
            ccache=cache_directory() / "ccache" / cell.id,
            compiler=compiler,
            runtime=runtime,
            host_arch=options.host_arch(),
        )
        for library in libraries
    )


def _libraries(workspace: Workspace, name: str | None) -> tuple[Library, ...]:
    known = workspace.matrix.libraries
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


def _compile(place: Workplace, jobs: int, console: Console) -> None:
    started = time.monotonic()
    with images.engine() as client:
        _run(client, steps.configure(place), place, "configure", console)
        _run(client, steps.compile_all(place, jobs), place, "compile", console)
    found = outcomes.artifacts(place.build, place.library.artifacts)
    outcomes.check_machine(found, place.cell.cell.arch)
    console.say(f"compiled {place.library.name} for {place.cell.id} in {_since(started)}")
    for item in found:
        click.echo(f"{_shown(item.path)}  {item.machine or 'data'}  {item.size} bytes")


def _test(place: Workplace, arguments: Sequence[str], console: Console) -> None:
    junit = place.build / steps.JUNIT
    junit.unlink(missing_ok=True)
    failure: EnvmatrixError | None = None
    with images.engine() as client:
        try:
            _run(client, steps.test(place, arguments), place, "test", console)
        except EnvmatrixError as error:
            failure = error
    if not junit.exists():
        raise failure or EnvmatrixError("CTest wrote no JUnit file")
    kept = place.directory / steps.JUNIT
    junit.replace(kept)
    _report(outcomes.test_outcomes(kept), kept)
    if failure:
        raise failure


def _report(tests: Sequence[outcomes.TestOutcome], junit: Path) -> None:
    for test in tests:
        reason = f": {test.message}" if test.message else ""
        click.echo(f"{test.state:8} {test.name} {test.seconds:.2f} s{reason}")
    counts = {
        state: sum(t.state == state for t in tests) for state in ("passed", "failed", "skipped")
    }
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    click.echo(f"{summary}; {_shown(junit)}")
    if not counts["passed"] and not counts["failed"]:
        raise EnvmatrixError("no test ran", hint="look at the log beside the JUnit file")


def _measure(
    place: Workplace,
    passthrough: gpu.Passthrough,
    arguments: Sequence[str],
    console: Console,
    *,
    as_json: bool,
) -> None:
    if place.library.benchmark is None:
        console.warn(f"`{place.library.name}` has no benchmark")
        return
    lines: list[str] = []
    spec = steps.measure(place, [gpu.request(passthrough)], arguments)
    with images.engine() as client:
        status = containers.run(client, spec, lines.append)
    if status == SKIPPED:
        console.say(f"skipped: the benchmark found no GPU: {lines[-1] if lines else 'no reason'}")
        sys.exit(SKIPPED)
    if status:
        raise _failed(place, "perf", status, lines)
    text = "\n".join(lines)
    found = outcomes.measurements(text)
    (place.directory / "perf.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        click.echo(text)
        return
    for item in found:
        click.echo(f"{item.name:24} {item.value:12.4g} {item.unit} ({item.direction} is better)")


def _run(
    client: docker.DockerClient, spec: ContainerSpec, place: Workplace, step: str, console: Console
) -> None:
    """One step; its output goes to its log, and to the screen with -v."""
    place.directory.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with place.log(step).open("w", encoding="utf-8") as log, console.display() as display:

        def on_line(line: str) -> None:
            lines.append(line)
            print(line, file=log)
            display.log(step, line)
            display.step(step, line, *steps.ninja_progress(line))

        display.started(step, "run", f"{place.library.name} in {place.cell.id}")
        status = containers.run(client, spec, on_line)
        display.finished(step, "failed" if status else "done")
    if status:
        raise _failed(place, step, status, lines)


class StepFailed(EnvmatrixError):
    """A program in the container failed; the session ends with its exit code."""

    def __init__(self, status: int, message: str, hint: str, details: Sequence[str]) -> None:
        super().__init__(message, hint=hint, details=details)
        self.exit_code = status  # type: ignore[misc]  # the program's own, not one of ours


def _failed(place: Workplace, step: str, status: int, lines: Sequence[str]) -> StepFailed:
    no_emulation = any("exec format error" in line.lower() for line in lines)
    advice = "set up emulation: `envmatrix doctor --fix`; " if no_emulation else ""
    return StepFailed(
        status,
        f"{step} of `{place.library.name}` failed in `{place.cell.id}` with exit code {status}",
        f"{advice}the log is {_shown(place.log(step))}; a shell in that same container: "
        f"`nox -s shell-{place.cell.id}`",
        lines[-_LAST_LINES:],
    )


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"
