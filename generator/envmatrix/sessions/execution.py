"""Carries out the steps of a session, one container each, and keeps what they print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.console import Console
from envmatrix.engine import containers
from envmatrix.engine.containers import ContainerSpec
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem
from envmatrix.sessions import outcomes, steps
from envmatrix.sessions.outcomes import Artifact, Measurement, TestOutcome
from envmatrix.sessions.steps import Workplace

if TYPE_CHECKING:
    import docker
    from docker.types import DeviceRequest

# The exit status of a test or benchmark that could not run, as CTest and automake have it.
SKIPPED = 77

_LAST_LINES = 60


class StepFailed(EnvmatrixError):
    """A program in the container failed; the session ends with its exit code."""

    def __init__(self, status: int, message: str, hint: str, details: Sequence[str]) -> None:
        super().__init__(message, hint=hint, details=details)
        self.exit_code = status  # type: ignore[misc]  # the program's own, not one of ours


class Skipped(EnvmatrixError):
    """A benchmark that could not run here, and why."""


@dataclass(frozen=True, slots=True)
class TestRun:
    __test__ = False  # pytest: this is no test class

    outcomes: tuple[TestOutcome, ...]
    junit: Path
    failure: StepFailed | None


@dataclass(frozen=True, slots=True)
class Output:
    """How a step ended, what it printed in order, and, where kept, its standard output alone."""

    status: int
    lines: tuple[str, ...]
    stdout: str


@dataclass(frozen=True, slots=True)
class Execution:
    """The steps of one library in one cell; `jobs` compile at once."""

    client: docker.DockerClient
    place: Workplace
    console: Console
    jobs: int

    def compile(self) -> tuple[Artifact, ...]:
        """Configure and compile; the library's artifacts, of the cell's architecture."""
        self._run("configure", steps.configure(self.place))
        self._run("compile", steps.compile_all(self.place, self.jobs))
        found = outcomes.artifacts(self.place.build, self.place.library.artifacts)
        outcomes.check_machine(found, self.place.target.binary)
        return found

    def test(self, devices: Sequence[DeviceRequest], arguments: Sequence[str]) -> TestRun:
        """Run CTest; a failing test is in the result, as is the failure to raise for it."""
        written = self.place.build / steps.JUNIT
        written.unlink(missing_ok=True)
        failure: StepFailed | None = None
        try:
            self._run("test", steps.test(self.place, devices, arguments))
        except StepFailed as error:
            failure = error
        if not written.exists():
            raise failure or EnvmatrixError("CTest wrote no JUnit file")
        kept = written.replace(self.place.directory / steps.JUNIT)
        return TestRun(outcomes.read_junit(kept), kept, failure)

    def measure(self, device: DeviceRequest, arguments: Sequence[str]) -> tuple[Measurement, ...]:
        """Run the benchmark with `device`; Skipped where it finds no GPU after all."""
        if self.place.library.benchmark is None:
            name = self.place.library.name
            raise ConfigurationError(
                Problem(f"library `{name}` has no `benchmark`", hint="name it in matrix.yaml")
            )
        output = self._output("perf", steps.measure(self.place, [device], arguments))
        if output.status == SKIPPED:
            raise Skipped(f"the benchmark found no GPU: {' '.join(output.lines[-1:])}")
        self._check("perf", output)
        found = outcomes.measurements(output.stdout)
        (self.place.directory / "perf.json").write_text(output.stdout, encoding="utf-8")
        return found

    def _run(self, step: str, spec: ContainerSpec) -> None:
        self._check(step, self._output(step, spec))

    def _output(self, step: str, spec: ContainerSpec) -> Output:
        """Run one step; what it prints goes to its log, and to the screen with -v."""
        self.place.directory.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        with (
            self.place.log(step).open("w", encoding="utf-8") as log,
            self.console.display() as display,
        ):

            def on_line(line: str) -> None:
                lines.append(line)
                log.write(f"{line}\n")
                display.log(step, line)
                display.step(step, line, *steps.ninja_progress(line))

            display.started(step, "run", f"{self.place.library.name} in {self.place.cell.id}")
            ended = containers.run(self.client, spec, on_line)
            display.finished(step, "failed" if ended.status else "done")
        return Output(ended.status, tuple(lines), ended.stdout)

    def _check(self, step: str, output: Output) -> None:
        if output.status:
            place = self.place
            no_emulation = any("exec format error" in line.lower() for line in output.lines)
            advice = "set up emulation: `envmatrix doctor --fix`; " if no_emulation else ""
            raise StepFailed(
                output.status,
                f"{step} of `{place.library.name}` failed in `{place.cell.id}` "
                f"with exit code {output.status}",
                f"{advice}the log is {place.log(step)}; a shell in that same container: "
                f"`nox -s shell-{place.cell.id}`",
                output.lines[-_LAST_LINES:],
            )
