"""Runs the tests of a library by its framework, and tells what each came to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.errors import SKIPPED, EnvmatrixError
from envmatrix.matrix.model import OF_PROGRAMS, LibraryTest
from envmatrix.sessions import junit, outcomes, steps, verdicts
from envmatrix.sessions.batches import REPORTS, Batch, Framework, names
from envmatrix.sessions.buildsystems import SITE
from envmatrix.sessions.failures import Judgement
from envmatrix.sessions.frameworks import FRAMEWORKS
from envmatrix.sessions.outcomes import TestOutcome
from envmatrix.sessions.runner import SHOWN_LINES, Output, Runner, StepFailed
from envmatrix.sessions.sharding import Shard, chosen

if TYPE_CHECKING:
    from docker.types import DeviceRequest


@dataclass(frozen=True, slots=True)
class TestRun:
    __test__ = False  # pytest: this is no test class

    outcomes: tuple[TestOutcome, ...]
    junit: Path
    failure: EnvmatrixError | None


@dataclass(frozen=True, slots=True)
class _Ran:
    """What tests came to; the `failure` of those that are bad; and a bad `ending` of programs all
    of whose tests are good, which no further attempt at tests can mend."""

    outcomes: Sequence[TestOutcome]
    failure: EnvmatrixError | None = None
    ending: EnvmatrixError | None = None


class _TestsFailed(StepFailed):
    """Tests came to a verdict, and it is a bad one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which tests: `only` these, all where that is None; the framework's own `arguments`; a shard
    by the seconds that tests took. And how often what fails is tried again, as the library says
    where that is None."""

    arguments: Sequence[str] = ()
    shard: Shard | None = None
    durations: Mapping[str, float] = field(default_factory=dict)
    retries: int | None = None
    only: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Testing:
    """The tests of the library of `runner`, on `devices`."""

    __test__ = False

    runner: Runner
    tests: LibraryTest
    devices: Sequence[DeviceRequest]

    def run(self, asked: Asked) -> TestRun:
        """Run them; a failing one is in the result, as is the failure to raise for it."""
        place = self.runner.place
        with place.build.opened() as build:
            build.make_directory(REPORTS)
        wanted = asked.only
        if asked.shard:
            part = self._shard(asked.shard, asked.durations)
            wanted = [name for name in part if wanted is None or name in wanted]
        ran = self._some(wanted, asked.arguments)
        for _ in range(self.tests.retries if asked.retries is None else asked.retries):
            failed = [its.name for its in ran.outcomes if its.state in verdicts.BAD]
            if not failed:
                break
            again = self._some(failed, asked.arguments, tells_missing=False)
            merged = outcomes.merged(ran.outcomes, again.outcomes)
            ran = _Ran(merged, again.failure, ran.ending or again.ending)
        found, failure = ran.outcomes, ran.failure or ran.ending
        is_nothing = wanted is not None and (not wanted or self._narrows(asked.arguments))
        if not found and failure is None and not is_nothing:
            failure = self._no_test("no test ran", "test")
        file = place.junit
        junit.write(file, f"{place.library.name}.{place.cell.id}", found)
        count = sum(its.state in verdicts.BAD for its in found)
        if count and (failure is None or isinstance(failure, _TestsFailed)):
            status, details = (failure.exit_code, failure.details) if failure else (1, ())
            failure = self._failed(found, status, details)
        return TestRun(tuple(found), file, failure)

    @property
    def _framework(self) -> Framework:
        return FRAMEWORKS[self.tests.framework]

    def listings(self) -> Iterator[tuple[Batch, Output]]:
        """Have the framework list its tests, by each of its programs."""
        for batch in self._framework.listing(self.runner.place, self._programs()):
            yield batch, self._output("list", batch, keeps_stdout=True)

    def _shard(self, shard: Shard, durations: Mapping[str, float]) -> tuple[str, ...]:
        """The tests of a shard, of those that the framework lists."""
        found: list[str] = []
        for batch, output in self.listings():
            if self._lacks_driver(batch, output):
                found.append(batch.program)
                continue
            self.runner.check(output)
            found += names(self._framework, batch, output.ended.stdout)
        if not found:
            raise self._no_test(f"{self.tests.framework} lists no test", "list")
        return chosen(found, durations, shard)

    def _no_test(self, message: str, step: str) -> EnvmatrixError:
        hint = "a library without tests says `test: none` in matrix.yaml; otherwise the log is"
        return EnvmatrixError(message, hint=f"{hint} {self.runner.place.log(step)}")

    def _programs(self) -> tuple[str, ...]:
        """What `run` means: of frameworks whose tests are programs, those that were built."""
        if self.tests.framework not in OF_PROGRAMS:
            return self.tests.run
        with self.runner.place.build.opened() as build:
            inside = [file.name for file in build.files(self.tests.run)]
        if not inside:
            raise EnvmatrixError(
                f"the build made no test program `{', '.join(self.tests.run)}`",
                hint="compare `test.run` in matrix.yaml with what the build writes",
            )
        return tuple(f"{steps.BUILD}/{name}" for name in inside)

    def _some(
        self,
        wanted: Sequence[str] | None,
        arguments: Sequence[str],
        *,
        tells_missing: bool = True,
    ) -> _Ran:
        """Run tests, all where `wanted` is None. With `tells_missing`, those that are wanted and
        did not run are errors, unless the framework was told to leave out some."""
        if wanted is not None and not wanted:
            return _Ran(())
        found: list[TestOutcome] = []
        failure: EnvmatrixError | None = None
        ending: EnvmatrixError | None = None
        options = (*self.tests.options, *arguments)
        place = self.runner.place
        batches = self._framework.running(place, self._programs(), wanted, options)
        tells_missing = tells_missing and not self._narrows(arguments)
        for batch in batches:
            ran = self._batch(batch, tells_missing=tells_missing)
            found += ran.outcomes
            failure, ending = failure or ran.failure, ending or ran.ending
        if tells_missing:
            tried = {name for batch in batches for name in (batch.program, *batch.tests)}
            found += map(self._not_run, (name for name in wanted or () if name not in tried))
        return _Ran(outcomes.of_each(found), failure, ending)

    def _narrows(self, arguments: Sequence[str]) -> bool:
        """Whether the framework is told to leave out tests, or to end early."""
        return self._framework.narrows((*self.tests.options, *arguments))

    def _not_run(self, name: str) -> TestOutcome:
        said = f"did not run: {self.tests.framework} was asked for it, and reports nothing of it"
        return TestOutcome(name, "errored", 0.0, said)

    def _batch(self, batch: Batch, *, tells_missing: bool) -> _Ran:
        with self.runner.place.build.opened() as build:
            for stale in build.files([batch.report]) if batch.report else ():
                build.remove(stale.name)  # what an earlier run said is no report of this one
        begun = time.monotonic()
        output = self._output("test", batch)
        seconds = time.monotonic() - begun
        if output.ended.out_of_memory or output.ended.stopped:
            error: EnvmatrixError = self.runner.failure(output)
            return _Ran([self._lost(batch, seconds, error)], error)
        if batch.report is None:
            return _Ran([self._by_status(batch.program, output, seconds)])
        try:
            told, is_excused = self._told(batch, batch.report, output.lines)
        except EnvmatrixError as broken:
            if self._lacks_driver(batch, output):
                return _Ran([self._by_status(batch.program, output, seconds)])
            error = self.runner.failure(output) if output.ended.status else broken
            return _Ran([self._lost(batch, seconds, error)], error)
        if tells_missing and batch.tests:
            absent = self._framework.missing(batch.tests, {its.name for its in told})
            told += map(self._not_run, absent)
        if any(its.state in verdicts.BAD for its in told):
            return _Ran(told, self._failed(told, output.ended.status or 1, output.lines))
        if output.ended.status and (not is_excused or verdicts.is_crash(output.ended.status)):
            return _Ran(told, ending=self.runner.failure(output))
        return _Ran(told)

    def _excused(self, outcome: TestOutcome, *, lacks_driver: bool) -> TestOutcome:
        """Without a GPU, a test that needs one is skipped where it fails, and one that needs its
        driver where it cannot be loaded."""
        if self.devices:
            return outcome
        if lacks_driver:
            message = f"{verdicts.NEEDS_DRIVER}: {outcome.message}"
            return replace(outcome, state="skipped", message=message)
        return verdicts.excused(outcome, self.tests.gpu, "no GPU")

    def _lacks_driver(self, batch: Batch, output: Output) -> bool:
        """Whether a program of tests cannot say which it has, as there is no GPU and no driver."""
        if self.devices or not batch.program:
            return False
        return verdicts.lacks_driver(_ended(batch.program, output, 0.0), status=output.ended.status)

    def _by_status(self, name: str, output: Output, seconds: float) -> TestOutcome:
        """The outcome of a program that is one test."""
        status, outcome = output.ended.status, _ended(name, output, seconds)
        if outcome.state != "failed":
            return outcome
        lacks_driver = verdicts.lacks_driver(outcome, status=status)
        settled = verdicts.by_status(name, status, seconds, outcome.output)
        return self._excused(settled, lacks_driver=lacks_driver)

    def _lost(self, batch: Batch, seconds: float, error: EnvmatrixError) -> TestOutcome:
        """What stands for tests that nothing is known of."""
        name = batch.program or self.tests.framework
        return TestOutcome(name, "errored", seconds, error.message)

    def _failed(
        self, told: Sequence[TestOutcome], status: int, lines: Sequence[str]
    ) -> _TestsFailed:
        place = self.runner.place
        bad = [its for its in told if its.state in verdicts.BAD]
        message = (
            f"{len(bad)} of {len(told)} tests of `{place.library.name}` in `{place.cell.id}` failed"
        )
        lost = [its for its in bad if its.state == "errored"]
        said = (line for its in lost for line in verdicts.last_words(its))
        judged = self.runner.lacking(said) or Judgement("product")
        cause = judged.cause if len(lost) == len(bad) else "product"
        message = ": ".join(filter(None, (message, judged.message)))
        hint = "; ".join(filter(None, (judged.hint, self.runner.hint("test"))))
        return _TestsFailed(status, cause, message, hint, lines[-SHOWN_LINES:])

    def _told(
        self, batch: Batch, report: str, lines: Sequence[str]
    ) -> tuple[list[TestOutcome], bool]:
        """What the JUnit files of a program say, by the framework's names; and whether any of it is
        excused."""
        endings = self._framework.endings(lines)
        tells_why = self._framework.tells_why
        told: list[TestOutcome] = []
        is_excused = False
        top = f"{report.partition('/')[0]}/"
        with self.runner.place.build.opened() as build:
            files = build.files([report])
            if not files:
                raise EnvmatrixError(
                    f"`{batch.program or batch.argv[0]}` wrote no JUnit file",
                    hint=f"the log is {self.runner.place.log('test')}",
                )
            for file in files:
                for case in junit.read(build, file.name):
                    name = self._framework.name(batch, case, file.name.removeprefix(top))
                    its = TestOutcome(
                        name, case.state, case.seconds, case.message, output=case.output
                    )
                    ending = endings.get(case.name, "")
                    lacks_driver = verdicts.lacks_driver(its, ending, tells_why=tells_why)
                    settled = verdicts.settled(its, ending, tells_why=tells_why)
                    # Before one of the same name hides what is wrong with it.
                    excused = self._excused(settled, lacks_driver=lacks_driver)
                    is_excused |= excused is not settled
                    told.append(excused)
        return list(outcomes.of_each(told)), is_excused

    def _output(self, step: str, batch: Batch, *, keeps_stdout: bool = False) -> Output:
        place = self.runner.place
        path = {"PYTHONPATH": f"{steps.BUILD}/{SITE}:{steps.REQUIRES}"}
        is_python = place.library.build.system == "python" or self.tests.framework == "pytest"
        environment = path if is_python else {}
        container = steps.compiler if batch.needs_compiler else steps.runtime
        spec = container(place, batch.argv, environment, directory=batch.directory)
        spec = replace(spec, devices=self.devices, keeps_stdout=keeps_stdout)
        return self.runner.output(step, spec, self.tests.timeout)


def _ended(name: str, output: Output, seconds: float) -> TestOutcome:
    """The outcome of a program that is one test, as far as its exit code tells."""
    status, said = output.ended.status, "".join(output.lines[-1:])
    printed = junit.cut("\n".join(output.lines), junit.PRINTED)
    if status == SKIPPED:
        return TestOutcome(name, "skipped", seconds, said, output=printed)
    return TestOutcome(name, "failed" if status else "passed", seconds, output=printed)
