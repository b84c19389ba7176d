"""Runs the tasks of a session, keeps the logs of their steps, and explains failures."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import field, replace
from functools import partial
from itertools import count

from envmatrix.confined import Area, Refused
from envmatrix.console import Console, Display
from envmatrix.engine.tasks import Executor, Task, key_of, run
from envmatrix.errors import Cancelled, EngineError
from envmatrix.records import dataclass
from envmatrix.sessions import failure_causes, failures
from envmatrix.sessions.context import COMPILING, BuildContext
from envmatrix.sessions.frameworks.announcements import Announcer
from envmatrix.sessions.host_paths import HostPaths
from envmatrix.sessions.logs import Log, progress_of
from envmatrix.sessions.outcomes import Step
from envmatrix.sessions.tasks import BEGIN, CompletedTask

# As much of a line as is shown.
_LONGEST_SHOWN = 4096


# One of these is in every line that says so: not every line of a flood is looked at.
_RETRY_WORDS = (b"etry", b"spurious")


@dataclass(frozen=True, slots=True)
class Runner:
    """Runner of the tasks of one library in one cell. `on_step` is called with each step that
    ended; `component_of` returns the component of CUDA that has a header or library, where images
    lack it, and `package_of` the package of the operating system, where one can be suggested;
    `absent_submodules` returns the submodules of the source that are not checked out, by
    their path in it. `job` is the id of what the tasks are for: the same one has the same tasks.
    It `retries` what the executor could not run, unless somebody else does."""

    executor: Executor
    context: BuildContext
    console: Console
    on_step: Callable[[Step], None] = lambda _step: None
    component_of: Callable[[str], str | None] = lambda _name: None
    package_of: Callable[[str], str | None] | None = None
    absent_submodules: Callable[[], Sequence[str]] = tuple
    job: str = field(default_factory=lambda: uuid.uuid4().hex)
    retries: bool = True
    # The numbers of tasks, in order.
    numbers: Iterator[int] = field(default_factory=count)
    # The build directories that containers wrote to.
    written: set[Area] = field(default_factory=set)

    def run(self, task: Task, *steps: str) -> CompletedTask:
        """Run a task of one step, or of two, of which the second has the standard error to itself.
        Output goes to the log of the step, and to the screen with -v. A failure of the executor,
        not of the program, is retried once, unless somebody else does that."""
        self.written.add(self.context.build)
        if self.context.prefix:
            self.written.add(self.context.installing)
        key = key_of(self.job, next(self.numbers), task)
        try:
            return self._run(key, task, steps)
        except EngineError as error:
            if not self.retries:
                raise
            self.console.warn(f"{error.message}; trying {steps[0]} again")
        return self._run(key, task, steps)

    def _run(self, key: str, task: Task, steps: Sequence[str]) -> CompletedTask:
        announcer = Announcer.of(self.context.library.tests, has_gpu=task.gpus is not None)
        with (
            self.console.display() as display,
            closing(_Steps(self, display, announcer, steps)) as output,
        ):
            try:
                result = run(self.executor, key, task, output.add_output)
            except BaseException as error:
                output.abandon(error)
                raise
            return CompletedTask(task, result, *output.end(result.status))

    def check(self, completed: CompletedTask) -> None:
        if completed.status:
            raise self.failure(completed)

    def failure(self, completed: CompletedTask) -> failures.StepFailed:
        """Return the failure of a task; what filled the disk is removed."""
        if completed.result.stopped == "disk":
            for area in {self.context.build, *self.written}:
                with area.opened() as directory:
                    directory.clear()
        lines = completed.lines
        completed = replace(completed, lines=self.host_paths.texts(lines))
        if failure := failures.limit_reached(self.context, completed):
            return failure
        judgement = (
            failure_causes.judge_missing(lines, self.component_of)
            or failure_causes.judge_submodules(lines, self.absent_submodules())
            or self._judge_packages(lines)
            or self._judge_output(lines, completed.task.image)
        )
        return failures.program_failed(self.context, completed, judgement)

    def _judge_output(self, lines: Sequence[str], image: str) -> failure_causes.Judgement:
        """Return the judgement by rules, with the names that a package may be suggested of."""
        context = self.context
        flavour = context.flavour_to_extend(image)
        judgement = failure_causes.judge(lines, flavour, context.library.name)
        names = failure_causes.lacking_names(lines) if self.package_of else ()
        if not names:
            return judgement
        hint = "; ".join(filter(None, (judgement.hint, failure_causes.SUGGESTION)))
        return replace(judgement, hint=hint, names=names)

    def _judge_packages(self, lines: Sequence[str]) -> failure_causes.Judgement | None:
        package_of = self.package_of
        return failure_causes.judge_packages(lines, package_of) if package_of else None

    @property
    def host_paths(self) -> HostPaths:
        return HostPaths.of(self.context)


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


class _Steps:
    """Steps of a container: of two, the first writes to the standard output alone, the second to
    the standard error. So the output of one step cannot pass for that of another, even if the last
    output of the first is late."""

    def __init__(
        self, runner: Runner, display: Display, announcer: Announcer, names: Sequence[str]
    ) -> None:
        self._names = names
        self._begin = partial(_StepOutput, runner, display, announcer)
        self._steps = [self._begin(names[0])]

    def close(self) -> None:
        for step in self._steps:
            step.log.close()

    def abandon(self, error: BaseException) -> None:
        self._steps[-1].abandon(error)

    def add_output(self, stream: int, printed: bytes) -> None:
        number = stream if len(self._names) > 1 else 0
        if number == len(self._steps):
            self._steps[-1].end(0)
            self._steps.append(self._begin(self._names[number]))
            printed = printed.removeprefix(BEGIN)
        self._steps[number].add_output(printed)

    def end(self, status: int) -> tuple[tuple[str, ...], str]:
        """End the last step; return its last lines and its name."""
        last = self._steps[-1]
        last.end(status)
        return last.log.end, last.step


class _StepOutput:
    """One step: its log, its time, and its display."""

    def __init__(self, runner: Runner, display: Display, announcer: Announcer, step: str) -> None:
        self._runner = runner
        self._announcer = announcer
        self._display = display
        self._rest = b""
        self.step, self._start = step, time.monotonic()
        self.log = Log(runner.context.log(step))
        display.started(step, "run", f"{runner.context.library.name} in {runner.context.cell.id}")
        self._is_over = False

    def add_output(self, printed: bytes) -> None:
        self.log.add(printed)
        if self._is_over:
            return
        text = self._rest + printed
        *lines, rest = text.split(b"\n")
        self._rest = rest[-_LONGEST_SHOWN:]
        may_wait = self.step in COMPILING and any(word in text for word in _RETRY_WORDS)
        if may_wait and any(
            failure_causes.retries_request(line.decode("utf-8", "replace")) for line in lines
        ):
            self.end(1)
            raise failures.without_network(self._runner.context, self.step, self.log.end)
        if self.step == "test" and self._announcer.may_have_news(text):
            for line in lines:
                for news in self._announcer.news(line.decode("utf-8", "replace")):
                    self._display.announce(news)
        # Of what comes at once only the last line would be seen anyway.
        latest_lines = lines if self._runner.console.verbosity > 0 else lines[-1:]
        for line in latest_lines:
            shown_line = line[:_LONGEST_SHOWN].decode("utf-8", "replace").rstrip("\r")
            self._display.log(self.step, shown_line)
            progress = progress_of(shown_line)
            self._display.step(self.step, progress.text, progress.done, progress.total)

    def abandon(self, error: BaseException) -> None:
        """Show the end of a step whose program did not end by itself."""
        if self._is_over:
            return
        self._is_over = True
        is_interruption = isinstance(error, KeyboardInterrupt | Cancelled)
        self._display.finished(self.step, "interrupted" if is_interruption else "failed")

    def end(self, status: int) -> None:
        self._is_over = True
        # The exit code of a test program does not tell the outcomes of its tests.
        failed = "ended" if self.step == "test" else "failed"
        self._display.finished(self.step, failed if status else "done")
        seconds = time.monotonic() - self._start
        self._runner.on_step(Step(self.step, status, seconds, self.log.excerpt()))
