"""Jobs in threads: their ends, failures, and interruptions."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from tests.unit.jobs.test_schedule import job

from envmatrix.app.job_execution import execute, failure_of
from envmatrix.console import Console
from envmatrix.errors import (
    Absent,
    ConfigurationError,
    EngineError,
    EnvmatrixError,
    LookupFailed,
)
from envmatrix.jobs.execution import Execution, JobResult
from envmatrix.jobs.model import Graph, Job, Resources
from envmatrix.parallel import INTERRUPTION
from envmatrix.sessions.failures import Skipped, StepFailed

MACHINE = Resources(9, 1 << 40)
DONE = JobResult("done")


@dataclass
class Lines:
    """An observer that notes what it sees."""

    lines: list[str] = field(default_factory=list)

    def started(self, job: Job) -> Console:
        self.lines.append(f"start {job.id}")
        return Console(-1)

    def ended(self, job: Job, result: JobResult) -> None:
        self.lines.append(f"{result.state} {job.id}")

    def interrupted(self, jobs: Sequence[Job]) -> None:
        self.lines.append(f"interrupted {' '.join(job.id for job in jobs)}")


def run(work: Callable[[Job], JobResult], *jobs: Job, fails_fast: bool = False) -> Execution:
    execution = Execution(Graph.of(jobs), MACHINE, fails_fast=fails_fast)
    assert not execute(execution, lambda entry, _console: work(entry), Lines())
    return execution


def test_jobs_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)

    def work(_job: Job) -> JobResult:
        both.wait()
        return DONE

    execution = run(work, job("a"), job("b"))
    assert {result.state for result in execution.results.values()} == {"done"}


def test_a_job_is_shown_when_it_starts_and_ends() -> None:
    execution, observer = Execution(Graph.of([job("a"), job("b", 1, ["a"])]), MACHINE), Lines()
    execute(execution, lambda _job, _console: DONE, observer)
    assert observer.lines == ["start a", "done a", "start b", "done b"]


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (EnvmatrixError("no file"), JobResult("failed", message="no file")),
        (EngineError("gone"), JobResult("failed", message="gone")),
        (Skipped("no GPU"), JobResult("skipped", message="no GPU")),
        (
            OSError(28, "No space left on device", "/a"),
            JobResult(
                "failed", message="`/a`: No space left on device; free some space: see `df /a`"
            ),
        ),
    ],
)
def test_an_error_ends_its_job_alone(error: Exception, result: JobResult) -> None:
    def work(entry: Job) -> JobResult:
        if entry.id == "bad":
            raise error
        return DONE

    results = run(work, job("bad"), job("good")).results
    assert (results["bad"].state, results["bad"].message) == (result.state, result.message)
    assert results["good"].state == "done"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EngineError("gone"), True),
        (LookupFailed("HTTP 429"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (Absent("no such image"), False),
        (ConfigurationError("wrong"), False),
        (EnvmatrixError("failed"), False),
        (StepFailed(1, "infrastructure", "lost", "", ()), True),
        (StepFailed(1, "product", "failed", "", ()), False),
        (OSError(errno.ENOENT, "No such file"), False),
    ],
)
def test_a_second_attempt_helps_where_the_infrastructure_failed(
    error: EnvmatrixError | OSError, *, expected: bool
) -> None:
    assert failure_of(error).of_infrastructure is expected


def test_a_defect_is_raised_once_all_others_have_ended() -> None:
    ended = []

    def work(entry: Job) -> JobResult:
        if entry.id == "defect":
            raise ZeroDivisionError
        ended.append(entry.id)
        return DONE

    with pytest.raises(ZeroDivisionError):
        run(work, job("defect"), job("good"))
    assert ended == ["good"]


def waiting_for_interruption() -> JobResult:
    """Wait as for a program that an interruption ends."""
    stopped = threading.Event()
    with INTERRUPTION.ending(stopped.set):
        assert stopped.wait(10)
    raise EngineError("it was killed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_programs_and_starts_no_other_job(number: signal.Signals) -> None:
    def work(_job: Job, _console: Console) -> JobResult:
        os.kill(os.getpid(), number)
        return waiting_for_interruption()

    execution = Execution(Graph.of([job("a"), job("b", 1, ["a"])]), MACHINE)
    assert execute(execution, work, Lines())
    assert execution.results["a"].state == "interrupted"
    assert execution.results["b"] == JobResult("left out", message="interrupted")
    assert not INTERRUPTION.is_set


def test_a_program_that_starts_after_the_signal_is_ended_too() -> None:
    INTERRUPTION.set()
    try:
        with pytest.raises(EngineError):
            waiting_for_interruption()
    finally:
        INTERRUPTION.clear()


def test_failing_fast_ends_what_runs() -> None:
    def work(entry: Job) -> JobResult:
        if entry.id == "bad":
            raise EnvmatrixError("no file")
        return waiting_for_interruption()

    results = run(work, job("bad"), job("other"), fails_fast=True).results
    assert (results["bad"].state, results["other"].state) == ("failed", "interrupted")


def test_what_a_reused_result_took_is_its_earlier_time() -> None:
    results = run(lambda _job: JobResult("reused", seconds=90.0), job("a")).results
    assert results["a"].seconds == 90
