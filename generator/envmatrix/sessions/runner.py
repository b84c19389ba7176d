"""Runs the steps of a session, one container each; keeps what they print, and says what it means
where they fail."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from envmatrix.console import Console, Display
from envmatrix.engine import containers
from envmatrix.engine.containers import ContainerSpec, Ended, Limits
from envmatrix.errors import SKIPPED, EngineError, EnvmatrixError
from envmatrix.sessions import failures, steps
from envmatrix.sessions.failures import Cause
from envmatrix.sessions.logs import Log
from envmatrix.sessions.outcomes import Step
from envmatrix.sessions.steps import Workplace
from envmatrix.sessions.verdicts import described

if TYPE_CHECKING:
    import docker

SHOWN_LINES = 60
# What has to stay free on a disk that a container writes to, in bytes.
FREE_DISK = 2 << 30
# How often a step is begun that the engine failed.
_ENGINE_ATTEMPTS = 2


# Steps that download nothing: what they need is in the image, the source and the wheels.
_WITHOUT_NETWORK = ("configure", "compile")


class StepFailed(EnvmatrixError):
    """A program in the container failed; the session ends with its exit code."""

    def __init__(
        self, status: int, cause: Cause, message: str, hint: str, details: Sequence[str]
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        # The program's own, not one of ours; but what failed was never skipped.
        self.exit_code = 1 if status == SKIPPED else status  # type: ignore[misc]
        self.cause = cause


class OutOfMemory(StepFailed):
    """The kernel ended a program, because the container had no more memory."""


class Skipped(EnvmatrixError):
    """A benchmark that could not run here, and why."""


@dataclass(frozen=True, slots=True)
class Output:
    """How a container ended, what its last step printed last, and which that was."""

    ended: Ended
    lines: tuple[str, ...]
    step: str


@dataclass(frozen=True, slots=True)
class Runner:
    """For one library in one cell. `memory` is what a container may take, in bytes, `free_disk`
    what it has to leave; `told` hears of each step that ended; `component_of` tells the component
    of CUDA that a header or library is of, where images lack it; `borrowed` are those that images
    have for other libraries; `absent_submodules` the submodules of the source that are not checked
    out, by their path in it."""

    client: docker.DockerClient
    place: Workplace
    console: Console
    memory: int | None = None
    free_disk: int = FREE_DISK
    told: Callable[[Step], None] = lambda _step: None
    component_of: Callable[[str], str | None] = lambda _name: None
    borrowed: Collection[str] = ()
    absent_submodules: Callable[[], Sequence[str]] = tuple

    def output(self, step: str, spec: ContainerSpec, timeout: float | None) -> Output:
        """Run a step, or several that mark where they begin, in one container. What each prints
        goes to its log, and to the screen with -v. What the engine fails, not the program, is begun
        once more."""
        limits = Limits(timeout, self.memory, self.free_disk)
        for attempt in range(1, _ENGINE_ATTEMPTS + 1):
            try:
                return self._once(step, replace(spec, limits=limits))
            except EngineError as error:
                if attempt == _ENGINE_ATTEMPTS:
                    raise
                self.console.warn(f"{error.message}; trying {step} again")
        raise AssertionError("unreachable")

    def _once(self, step: str, spec: ContainerSpec) -> Output:
        with self.console.display() as display:
            stage = _Stage(self, display, step)
            try:
                ended = containers.run(self.client, spec, stage.hear)
            except _AsksAgain:
                stage.end(1)
                raise self._without_network(stage.step, stage.log.end) from None
            except BaseException:
                stage.log.close()
                raise
            stage.end(ended.status)
        return Output(ended, stage.log.end, stage.step)

    def check(self, step: str, output: Output) -> None:
        if output.ended.status:
            raise self.failure(step, output.ended, output.lines)

    def failure(self, step: str, ended: Ended, lines: Sequence[str]) -> StepFailed:
        place, shell = self.place, self.hint(step)
        where = f"{step} of `{place.library.name}` in `{place.cell.id}`"
        details = lines[-SHOWN_LINES:]
        if ended.out_of_memory and ended.status:
            limit = f"the {self.memory >> 20} MB" if self.memory else "the memory"
            message = f"{where} took more than {limit} that there are, and was killed"
            hint = f"{shell}; fewer jobs: `-j 1`, or a larger `build.job_memory`"
            return OutOfMemory(ended.status, "environment", message, hint, details)
        if ended.stopped == "timeout":
            limits = place.library.tests if step == "test" else place.library.build
            seconds = limits.timeout if limits else 0
            message = f"{where} went on for more than {seconds} s, and was killed with all it began"
            hint = f"{shell}; `timeout` in matrix.yaml is the limit"
            return StepFailed(ended.status, "product", message, hint, details)
        if ended.stopped == "disk":
            shutil.rmtree(place.build, ignore_errors=True)
            message = f"{where} filled the disk, and was killed; what it wrote is removed"
            hint = "`df` says what is free, `envmatrix gc --dry-run` what could be"
            return StepFailed(ended.status, "environment", message, hint, details)
        judged = self._judged(lines)
        said = f": {judged.message}" if judged.message else ""
        message = f"{where} failed with {described(ended.status)}{said}"
        hint = "; ".join(filter(None, (judged.hint, shell)))
        return StepFailed(ended.status, judged.cause, message, hint, details)

    def _without_network(self, step: str, lines: Sequence[str]) -> StepFailed:
        """The failure of a step that would ask a network again and again that is not there."""
        where = f"{step} of `{self.place.library.name}` in `{self.place.cell.id}`"
        message = f"{where} was ended: {failures.NO_NETWORK}"
        hint = f"{failures.VENDOR}; {self.hint(step)}"
        return StepFailed(1, "environment", message, hint, lines[-SHOWN_LINES:])

    def hint(self, step: str) -> str:
        """Where to look, and how to try it by hand."""
        return (
            f"the log is {self.place.log(step)}; a shell in that same container: "
            f"`nox -s shell-{self.place.cell.id}`"
        )

    def _judged(self, lines: Sequence[str]) -> failures.Judgement:
        for name in failures.lacking(lines):
            if component := self.component_of(name):
                return failures.Judgement(
                    "environment",
                    f"it needs `{name}`, which is of the component `{component}`",
                    f"add it to the library: `components: [{component}]`",
                )
        for path in self.absent_submodules():
            named = re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w-])")
            if any(map(named.search, lines)):
                return failures.Judgement(
                    "environment",
                    f"the submodule `{path}` is not checked out",
                    "check it out: `git submodule update --init --recursive`",
                )
        return failures.judge(lines)


class _AsksAgain(Exception):
    """A program waits for a network."""


class _Stage:
    """The step that a container is at: its log, its time, and what is shown of it."""

    def __init__(self, runner: Runner, display: Display, step: str) -> None:
        self._runner = runner
        self._display = display
        self._begin(step)

    def _begin(self, step: str) -> None:
        place = self._runner.place
        self.step, self._begun = step, time.monotonic()
        self.log = Log(place.log(step))
        self._display.started(step, "run", f"{place.library.name} in {place.cell.id}")

    def hear(self, line: str) -> None:
        if line.startswith(steps.MARK):
            if (step := line.removeprefix(steps.MARK)) != self.step:
                self.end(0)
                self._begin(step)
            return
        self.log.add(line)
        self._display.log(self.step, line)
        self._display.step(self.step, line, *steps.ninja_progress(line))
        if self.step in _WITHOUT_NETWORK and failures.asks_again(line):
            raise _AsksAgain

    def end(self, status: int) -> None:
        self.log.close()
        self._display.finished(self.step, "failed" if status else "done")
        seconds = time.monotonic() - self._begun
        self._runner.told(Step(self.step, status, seconds, self.log.excerpt()))
