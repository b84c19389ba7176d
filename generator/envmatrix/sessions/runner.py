"""Runs the steps of a session, one container each; keeps their logs, and explains failures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from envmatrix.confined import Area, Refused
from envmatrix.console import Console, Display
from envmatrix.engine import containers
from envmatrix.engine.containers import ContainerResult, ContainerSpec, Limits
from envmatrix.errors import SKIPPED, EngineError, EnvmatrixError
from envmatrix.sessions import failure_causes, steps
from envmatrix.sessions.buildsystems import BEGIN
from envmatrix.sessions.failure_causes import Cause
from envmatrix.sessions.logs import Log
from envmatrix.sessions.outcomes import Step
from envmatrix.sessions.steps import BuildContext

if TYPE_CHECKING:
    import docker

SHOWN_LINES = 60
# Free space that a container has to leave on its disk, in bytes.
FREE_DISK = 2 << 30
# Attempts at a step, where the engine fails.
_ENGINE_ATTEMPTS = 2
# As much of a line as is shown.
_LONGEST_SHOWN = 4096


# Steps that download nothing: what they need is in the image, the source and the wheels.
_WITHOUT_NETWORK = ("configure", "compile")
# One of these is in every line that says so: not every line of a flood is looked at.
_OF_WAITING = (b"etry", b"spurious")


class StepFailed(EnvmatrixError):
    """Failure of a program in the container; the session ends with its exit code."""

    def __init__(
        self, status: int, cause: Cause, message: str, hint: str, details: Sequence[str]
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        # The program's own, not one of ours; but what failed was never skipped.
        self.exit_code = 1 if status == SKIPPED else status  # type: ignore[misc]
        self.cause = cause


class OutOfMemory(StepFailed):
    """Failure of a program that the kernel ended, because the container had no more memory."""


class Skipped(EnvmatrixError):
    """Session that cannot run here, with the reason."""


@dataclass(frozen=True, slots=True)
class Output:
    """Result of a container, with the last output of its last step, and the name of that step."""

    ended: ContainerResult
    lines: tuple[str, ...]
    step: str


@dataclass(frozen=True, slots=True)
class Runner:
    """Runner of steps for one library in one cell. `memory` is the limit of a container, and
    `free_disk` the space that it has to leave, both in bytes; `on_step` is called with each step
    that ended; `component_of` returns the component of CUDA that has a header or library, where
    images lack it; `borrowed` are the components that images have for other libraries;
    `absent_submodules` returns the submodules of the source that are not checked out, by their path
    in it."""

    client: docker.DockerClient
    context: BuildContext
    console: Console
    memory: int | None = None
    free_disk: int = FREE_DISK
    on_step: Callable[[Step], None] = lambda _step: None
    component_of: Callable[[str], str | None] = lambda _name: None
    borrowed: Collection[str] = ()
    absent_submodules: Callable[[], Sequence[str]] = tuple
    # The build directories that containers wrote to.
    written: set[Area] = field(default_factory=set)

    def output(
        self, step: str, spec: ContainerSpec, timeout: float | None, *, then: str | None = None
    ) -> Output:
        """Run a step in a container, or one and `then` another, which has the standard error to
        itself. Output goes to the log of the step, and to the screen with -v. A failure of the
        engine, not of the program, is retried once."""
        limits = Limits(timeout, self.memory, self.free_disk, self.context.shared_memory)
        steps_of_it = (step, then) if then else (step,)
        for attempt in range(1, _ENGINE_ATTEMPTS + 1):
            try:
                return self._once(steps_of_it, replace(spec, limits=limits))
            except EngineError as error:
                if attempt == _ENGINE_ATTEMPTS:
                    raise
                self.console.warn(f"{error.message}; trying {step} again")
        raise AssertionError("unreachable")

    def _once(self, names: Sequence[str], spec: ContainerSpec) -> Output:
        self.written.add(self.context.build)
        with self.console.display() as display, _Stages(self, display, names) as stages:
            try:
                ended = containers.run(self.client, spec, stages.hear)
            except _AsksAgain:
                lines, step = stages.end(1)
                raise self._without_network(step, lines) from None
            return Output(ended, *stages.end(ended.status))

    def clear_privileges(self) -> None:
        """Remove privileges from files that containers wrote, and from the compiler cache."""
        clear_privileges(self.context, self.written, self.console)

    def check(self, output: Output) -> None:
        if output.ended.status:
            raise self.failure(output)

    def failure(self, output: Output) -> StepFailed:
        from envmatrix.sessions.verdicts import describe_status

        context, ended, step = self.context, output.ended, output.step
        where, shell, details = self._where(step), self.hint(step), output.lines[-SHOWN_LINES:]
        if ended.out_of_memory and ended.status:
            limit = f"the {self.memory >> 20} MB" if self.memory else "the memory"
            message = f"{where} took more than {limit} that there are, and was killed"
            hint = f"{shell}; fewer jobs: `-j 1`, or a larger `build.job_memory`"
            return OutOfMemory(ended.status, "environment", message, hint, details)
        if ended.stopped == "timeout":
            limits = context.library.tests if step == "test" else context.library.build
            seconds = limits.timeout if limits else 0
            message = f"{where} went on for more than {seconds} s, and was killed with all it began"
            hint = f"{shell}; `timeout` in matrix.yaml is the limit"
            return StepFailed(ended.status, "product", message, hint, details)
        if ended.stopped == "disk":
            with context.build.opened() as build:
                build.clear()
            message = f"{where} filled the disk, and was killed; what it wrote is removed"
            hint = "`df` says what is free, `envmatrix gc --dry-run` what could be"
            return StepFailed(ended.status, "environment", message, hint, details)
        if ended.stopped == "output":
            message = f"{where} printed more than a result has, and was killed"
            hint = f"{shell}; its standard output is read as its result"
            return StepFailed(ended.status, "product", message, hint, details)
        judgement = self._judge(output.lines)
        reason = f": {judgement.message}" if judgement.message else ""
        message = f"{where} failed with {describe_status(ended.status)}{reason}"
        hint = "; ".join(filter(None, (judgement.hint, shell)))
        return StepFailed(ended.status, judgement.cause, message, hint, details)

    def _without_network(self, step: str, lines: Sequence[str]) -> StepFailed:
        """Return the failure of a step that retries network requests without a network."""
        message = f"{self._where(step)} was ended: {failure_causes.NO_NETWORK}"
        hint = f"{failure_causes.VENDOR}; {self.hint(step)}"
        return StepFailed(1, "environment", message, hint, lines[-SHOWN_LINES:])

    def _where(self, step: str) -> str:
        return f"{step} of `{self.context.library.name}` in `{self.context.cell.id}`"

    def hint(self, step: str) -> str:
        """Name the log, and the command that opens a shell to reproduce the failure."""
        context = self.context
        return (
            f"the log is {context.log(step)}; a shell in the container that compiles it: "
            f"`{context.shell}`"
        )

    def judge_missing(self, lines: Iterable[str]) -> failure_causes.Judgement | None:
        """Return the judgement for errors about a component that images lack; None for other
        errors."""
        for name in failure_causes.missing_names(lines):
            if component := self.component_of(name):
                return failure_causes.Judgement(
                    "environment",
                    f"it needs `{name}`, which is of the component `{component}`",
                    f"add it to the library: `components: [{component}]`",
                )
        return None

    def _judge(self, lines: Sequence[str]) -> failure_causes.Judgement:
        if judgement := self.judge_missing(lines):
            return judgement
        for path in self.absent_submodules():
            named = re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w-])")
            if any(map(named.search, lines)):
                return failure_causes.Judgement(
                    "environment",
                    f"the submodule `{path}` is not checked out",
                    "check it out: `git submodule update --init --recursive`",
                )
        return failure_causes.judge(lines)


def clear_privileges(context: BuildContext, written: Iterable[Area], console: Console) -> None:
    """Remove privileges that would let users of `written`, or of the compiler cache, act as others.
    A cache with files of other users fails no build."""
    if context.compiler_cache:
        try:
            with context.compiler_cache.opened() as directory:
                directory.clear_privileges(only_own=True)
        except Refused as error:
            console.warn(f"remove the compiler cache `{context.compiler_cache}`: {error.message}")
    for area in written:
        with area.opened() as directory:
            directory.clear_privileges()


class _AsksAgain(Exception):
    """Program that waits for a network."""


class _Stages:
    """Steps of a container: of two, the first writes to the standard output alone, the second to
    the standard error. So the output of one step cannot pass for that of another, even if the last
    output of the first is late."""

    def __init__(self, runner: Runner, display: Display, names: Sequence[str]) -> None:
        self._runner = runner
        self._display = display
        self._names = names
        self._stages = [_Stage(runner, display, names[0])]

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *_: object) -> None:
        for stage in self._stages:
            stage.log.close()

    def hear(self, stream: int, printed: bytes) -> None:
        number = stream if len(self._names) > 1 else 0
        if number == len(self._stages):
            self._stages[-1].end(0)
            self._stages.append(_Stage(self._runner, self._display, self._names[number]))
            printed = printed.removeprefix(BEGIN)
        self._stages[number].hear(printed)

    def end(self, status: int) -> tuple[tuple[str, ...], str]:
        """End the last step; return its last lines and its name."""
        last = self._stages[-1]
        last.end(status)
        return last.log.end, last.step


class _Stage:
    """One step: its log, its time, and its display."""

    def __init__(self, runner: Runner, display: Display, step: str) -> None:
        self._runner = runner
        self._display = display
        self._rest = b""
        self.step, self._begun = step, time.monotonic()
        self.log = Log(runner.context.log(step))
        display.started(step, "run", f"{runner.context.library.name} in {runner.context.cell.id}")
        self._is_over = False

    def hear(self, printed: bytes) -> None:
        self.log.add(printed)
        if self._is_over:
            return
        text = self._rest + printed
        *lines, rest = text.split(b"\n")
        self._rest = rest[-_LONGEST_SHOWN:]
        may_wait = self.step in _WITHOUT_NETWORK and any(word in text for word in _OF_WAITING)
        if may_wait and any(
            failure_causes.asks_again(line.decode("utf-8", "replace")) for line in lines
        ):
            raise _AsksAgain
        # Of what comes at once only the last line would be seen anyway.
        shown = lines if self._runner.console.verbosity > 0 else lines[-1:]
        for line in shown:
            shown_line = line[:_LONGEST_SHOWN].decode("utf-8", "replace").rstrip("\r")
            self._display.log(self.step, shown_line)
            self._display.step(self.step, shown_line, *steps.ninja_progress(shown_line))

    def end(self, status: int) -> None:
        self._is_over = True
        # The exit code of a test program does not tell the outcomes of its tests.
        failed = "ended" if self.step == "test" else "failed"
        self._display.finished(self.step, failed if status else "done")
        seconds = time.monotonic() - self._begun
        self._runner.on_step(Step(self.step, status, seconds, self.log.excerpt()))
