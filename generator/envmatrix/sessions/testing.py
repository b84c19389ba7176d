"""Runs the tests of a library by its framework, and returns their outcomes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path

from envmatrix.engine.tasks import Gpus
from envmatrix.errors import SKIPPED, EnvmatrixError
from envmatrix.matrix.library import OF_PROGRAMS, LibraryTest
from envmatrix.records import dataclass
from envmatrix.sessions import junit, outcomes, tasks, verdicts
from envmatrix.sessions.context import BUILD
from envmatrix.sessions.failure_causes import Judgement, judge_lacking, judge_missing
from envmatrix.sessions.failures import StepFailed, step_hint
from envmatrix.sessions.frameworks import FRAMEWORKS
from envmatrix.sessions.frameworks.announcements import announcements
from envmatrix.sessions.frameworks.base import REPORTS, Batch, Framework, Invocation, listed_names
from envmatrix.sessions.host_paths import NO_PATHS, HostPaths
from envmatrix.sessions.outcomes import TestOutcome
from envmatrix.sessions.prefixes import joined, python_variables
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.sharding import Shard, select_shard
from envmatrix.sessions.tasks import CompletedTask
from envmatrix.text import first_line, number_of, one_line


@dataclass(frozen=True, slots=True)
class TestRun:
    __test__ = False  # pytest: this is no test class

    outcomes: tuple[TestOutcome, ...]
    junit: Path
    failure: EnvmatrixError | None
    host_paths: HostPaths = NO_PATHS


@dataclass(frozen=True, slots=True)
class _Result:
    """Outcomes of tests; the `failure` of bad ones; and the `ending` of programs that failed
    although all of their tests are good, which no retry can change."""

    outcomes: Sequence[TestOutcome]
    failure: EnvmatrixError | None = None
    ending: EnvmatrixError | None = None


class _TestsFailed(StepFailed):
    """Failure of tests by their own verdict."""


@dataclass(frozen=True, slots=True)
class TestRequest:
    """Selection of tests: `only` these, all where that is None; `arguments` for the framework; a
    shard, balanced by `durations` in seconds; `retries` of failed tests, the library's if None."""

    __test__ = False  # pytest: this is no test class

    arguments: Sequence[str] = ()
    shard: Shard | None = None
    durations: Mapping[str, float] = field(default_factory=dict)
    retries: int | None = None
    only: Sequence[str] | None = None


@dataclass(frozen=True)
class Testing:
    """Tests of the runner's library, with `gpus` if there are any. What is not its own tests has a
    framework of its own."""

    __test__ = False

    runner: Runner
    tests: LibraryTest
    gpus: Gpus | None
    own_framework: Framework | None = None

    def run(self, request: TestRequest) -> TestRun:
        """Run the tests; failures are in the result, with the error to raise for them."""
        context = self.runner.context
        with context.build.opened() as build:
            build.make_directory(REPORTS)
        selected = request.only
        if request.shard:
            part = self._shard(request.shard, request.durations)
            selected = [name for name in part if selected is None or name in selected]
        result = self._run_tests(selected, request.arguments)
        for _ in range(self.tests.retries if request.retries is None else request.retries):
            failed = [outcome.name for outcome in result.outcomes if outcome.state in verdicts.BAD]
            if not failed:
                break
            retried = self._run_tests(failed, request.arguments, reports_missing=False)
            merged = outcomes.merge_retries(result.outcomes, retried.outcomes)
            result = _Result(merged, retried.failure, result.ending or retried.ending)
        tests, failure = result.outcomes, result.failure or result.ending
        narrows = self.framework.narrows((*self.tests.options, *request.arguments))
        is_empty = selected is not None and (narrows or not selected)
        if not tests and failure is None and not is_empty:
            failure = self._no_test("no test ran", "test")
        file = self._report
        junit.write(file, f"{context.library.name}.{context.cell.id}", tests)
        count = sum(outcome.state in verdicts.BAD for outcome in tests)
        if count and (failure is None or isinstance(failure, _TestsFailed)):
            status, output = (failure.exit_code, failure.output) if failure else (1, ())
            failure = self._failure_of_tests(tests, status, output)
        return TestRun(tuple(tests), file, failure, self.runner.host_paths)

    @property
    def framework(self) -> Framework:
        return self.own_framework or FRAMEWORKS[self.tests.framework]

    @property
    def _report(self) -> Path:
        """The JUnit file of all tests."""
        context, framework = self.runner.context, self.own_framework
        return context.log(framework.step).with_suffix(".xml") if framework else context.junit

    @cached_property
    def listings(self) -> Sequence[tuple[Batch, CompletedTask]]:
        """The framework's list of tests of each program."""
        batches = self.framework.listing(Invocation(self.runner.context, self._programs()))
        return [(batch, self._run("list", batch, keeps_stdout=True)) for batch in batches]

    def _shard(self, shard: Shard, durations: Mapping[str, float]) -> tuple[str, ...]:
        """Return the tests of a shard, of those that the framework lists."""
        test_names: list[str] = []
        for batch, completed in self.listings:
            if self._lacks_driver(batch, completed):
                test_names.append(batch.program)
                continue
            self.runner.check(completed)
            test_names += listed_names(self.framework, batch, completed.result.stdout)
        if not test_names:
            raise self._no_test(f"{self.tests.framework} lists no test", "list")
        return select_shard(test_names, durations, shard)

    def _no_test(self, message: str, step: str) -> EnvmatrixError:
        hint = "a library without tests says `test: none` in matrix.yaml; otherwise the log is"
        return EnvmatrixError(message, hint=f"{hint} {self.runner.context.log(step)}")

    def _programs(self) -> tuple[str, ...]:
        """Return `run` of the library; the matching programs of the build, if tests are
        programs."""
        if self.tests.framework not in OF_PROGRAMS:
            return self.tests.run
        with self.runner.context.build.opened() as build:
            inside = [file.name for file in build.files(self.tests.run)]
        if not inside:
            message = f"the build made no test program `{', '.join(self.tests.run)}`"
            hint = "compare `test.run` in matrix.yaml with what the build writes"
            raise EnvmatrixError(message, hint=hint)
        return tuple(f"{BUILD}/{name}" for name in inside)

    def _run_tests(
        self,
        selected: Sequence[str] | None,
        arguments: Sequence[str],
        *,
        reports_missing: bool = True,
    ) -> _Result:
        """Run the `selected` tests, all where it is None. With `reports_missing`, those that did
        not run are errors, unless the framework has options that leave out some."""
        if selected is not None and not selected:
            return _Result(())
        options = (*self.tests.options, *arguments)
        invocation = Invocation(self.runner.context, self._programs(), selected, options)
        batches = self.framework.running(invocation)
        reports_missing = reports_missing and not self.framework.narrows(options)
        results = []
        for batch in batches:
            result = self._run_batch(batch, reports_missing=reports_missing)
            results.append(result)
            if batch is not batches[-1]:
                self._announce(batch, result.outcomes)
            is_bad = any(outcome.state in verdicts.BAD for outcome in result.outcomes)
            if self.framework.ends_early and (is_bad or result.ending):
                rest = batches[len(results) :]
                results.append(_Result([_not_run(other, batch) for other in rest]))
                break
        tests = [outcome for result in results for outcome in result.outcomes]
        if reports_missing:
            started = {name for batch in batches for name in (batch.program, *batch.tests)}
            tests += [self._missing_outcome(name) for name in selected or () if name not in started]
        return _Result(
            outcomes.worst_by_name(tests),
            next((result.failure for result in results if result.failure), None),
            next((result.ending for result in results if result.ending), None),
        )

    def _announce(self, batch: Batch, tests: Sequence[TestOutcome]) -> None:
        """Announce the bad tests of a program that did not print them, before the next one runs."""
        tells = self.framework.bad_test is not None
        unprinted = [test for test in tests if not tells or test.name == batch.program]
        with self.runner.console.display() as display:
            for news in announcements(unprinted):
                display.announce(news)

    def _missing_outcome(self, name: str) -> TestOutcome:
        message = f"did not run: {self.tests.framework} was asked for it, and reports nothing of it"
        return TestOutcome(name, "errored", 0.0, message)

    def _run_batch(self, batch: Batch, *, reports_missing: bool) -> _Result:
        with self.runner.context.build.opened() as build:
            for stale in build.files([batch.report]) if batch.report else ():
                build.remove(stale.name)  # a report of an earlier run
        start = time.monotonic()
        completed = self._run(batch.step, batch)
        seconds = time.monotonic() - start
        if completed.result.out_of_memory or completed.result.stopped:
            return self._without_report(batch, seconds, self.runner.failure(completed))
        if batch.report is None:
            return _Result([self._by_status(batch, completed, seconds)])
        try:
            reported, is_excused = self._read_reports(batch, batch.report, completed.lines)
        except EnvmatrixError as broken:
            if self._lacks_driver(batch, completed):
                return _Result([self._by_status(batch, completed, seconds)])
            error = self.runner.failure(completed) if completed.status else broken
            return self._without_report(batch, seconds, error)
        if reports_missing and batch.tests:
            missing = self.framework.missing(batch.tests, {outcome.name for outcome in reported})
            reported += map(self._missing_outcome, missing)
        failure = ending = None
        if any(outcome.state in verdicts.BAD for outcome in reported):
            failure = self._failure_of_tests(reported, completed.status or 1, completed.lines)
        elif completed.status and (not is_excused or verdicts.is_crash(completed.status)):
            ending = self.runner.failure(completed)
        return _Result(reported, failure, ending)

    def _excuse(self, outcome: TestOutcome, *, lacks_driver: bool) -> TestOutcome:
        """Skip, without a GPU, a failed test that needs one, or a program that cannot be loaded
        without its driver."""
        if self.gpus:
            return outcome
        return verdicts.excuse_outcome(outcome, self.tests.gpu, lacks_driver=lacks_driver)

    def _lacks_driver(self, batch: Batch, completed: CompletedTask) -> bool:
        """Return whether a program cannot be loaded, as there is no GPU and no driver."""
        if self.gpus or not batch.program:
            return False
        outcome = _outcome_of_program(batch, completed, 0.0)
        return verdicts.lacks_driver(outcome, status=completed.status)

    def _by_status(self, batch: Batch, completed: CompletedTask, seconds: float) -> TestOutcome:
        """Return the outcome of a program that is one test."""
        outcome = _outcome_of_program(batch, completed, seconds)
        if outcome.state != "failed":
            return outcome
        classified = verdicts.classify_program(outcome, completed.status)
        return self._excuse(classified, lacks_driver=self._lacks_driver(batch, completed))

    def _without_report(self, batch: Batch, seconds: float, error: EnvmatrixError) -> _Result:
        """Return one outcome, which stands for tests without a result."""
        name = batch.program or self.tests.framework
        return _Result([TestOutcome(name, "errored", seconds, error.message)], error)

    def _failure_of_tests(
        self, reported: Sequence[TestOutcome], status: int, lines: Sequence[str]
    ) -> _TestsFailed:
        context, framework = self.runner.context, self.framework
        bad = [outcome for outcome in reported if outcome.state in verdicts.BAD]
        library, cell = context.library.name, context.cell.id
        number = number_of(len(reported), "test")
        step = f"step `{framework.step}` of " if self.own_framework else ""
        message = f"{len(bad)} of {number} of {step}`{library}` in `{cell}` failed"
        errored = [outcome for outcome in bad if outcome.state == "errored"]
        lines_of_errors = [line for outcome in errored for line in verdicts.last_words(outcome)]
        judgement = (
            judge_missing(lines_of_errors, self.runner.component_of)
            or judge_lacking(lines_of_errors, "runtime", library)
            or Judgement("product")
        )
        cause = judgement.cause if len(errored) == len(bad) else "product"
        message = ": ".join(filter(None, (message, judgement.message)))
        log_of = framework.step_of(bad[0].name)
        hint = "; ".join(filter(None, (judgement.hint, step_hint(context, log_of))))
        paths = self.runner.host_paths
        texts = (f"{test.name}: {first_line(test.message)}".removesuffix(": ") for test in bad)
        rows = [
            (test.state, one_line(paths.text(text))) for test, text in zip(bad, texts, strict=True)
        ]
        return _TestsFailed(
            status,
            cause,
            message,
            hint,
            paths.texts(lines),
            failures=rows,
            remedy=judgement.hint,
        )

    def _read_reports(
        self, batch: Batch, report: str, lines: Sequence[str]
    ) -> tuple[list[TestOutcome], bool]:
        """Parse the JUnit files of a program, with the framework's names; return the outcomes, and
        whether any of them is excused."""
        framework, endings = self.framework, self.framework.endings(lines)
        results: list[TestOutcome] = []
        is_excused = False
        top = f"{report.partition('/')[0]}/"
        with self.runner.context.build.opened() as build:
            files = build.files([report])
            if not files:
                raise EnvmatrixError(
                    f"`{one_line(batch.program or batch.argv[0])}` wrote no JUnit file",
                    hint=f"the log is {self.runner.context.log(batch.step)}",
                )
            for file in files:
                for case in junit.read(build, file.name):
                    name = framework.name_of(batch, case, file.name.removeprefix(top))
                    outcome = TestOutcome(
                        name, case.state, case.seconds, case.message, output=case.output
                    )
                    ending = endings.get(case.name, "")
                    end = (outcome, ending, framework.status_of(case, ending))
                    lacks_driver = verdicts.lacks_driver(*end, tells_why=framework.tells_why)
                    classified = verdicts.classify_outcome(*end, tells_why=framework.tells_why)
                    # Before one of the same name hides what is wrong with it.
                    excused_outcome = self._excuse(classified, lacks_driver=lacks_driver)
                    is_excused |= excused_outcome is not classified
                    results.append(excused_outcome)
        return list(outcomes.worst_by_name(results)), is_excused

    def _run(self, step: str, batch: Batch, *, keeps_stdout: bool = False) -> CompletedTask:
        context = self.runner.context
        in_image = tasks.in_compiler if batch.needs_compiler else tasks.in_runtime
        task = in_image(context, batch.argv)
        own = {**context.system.test_environment, **self.framework.environment}
        task = replace(
            task,
            environment=joined({**task.environment, **own}, python_variables(context)),
            directory=batch.directory,
            gpus=self.gpus,
            limits=replace(task.limits, seconds=self.tests.timeout),
            keeps_stdout=keeps_stdout,
        )
        return self.runner.run(task, step)


def _not_run(batch: Batch, before: Batch) -> TestOutcome:
    """Return the outcome of a program that nothing runs, as one before it failed."""
    message = f"not run, as `{one_line(before.program)}` failed"
    return TestOutcome(batch.program, "skipped", 0.0, message)


def _outcome_of_program(batch: Batch, completed: CompletedTask, seconds: float) -> TestOutcome:
    """Return the outcome of a program that is one test, as far as its exit code determines it."""
    name, status, message = batch.program, completed.status, "".join(completed.lines[-1:])
    printed = junit.cut("\n".join(completed.lines), junit.PRINTED)
    if status == SKIPPED:
        return TestOutcome(name, "skipped", seconds, message, output=printed)
    return TestOutcome(name, "failed" if status else "passed", seconds, output=printed)
