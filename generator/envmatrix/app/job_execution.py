"""Executes the jobs of a plan on this machine, as many at once as it has resources for."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import Protocol

from envmatrix.console import Console
from envmatrix.errors import EnvmatrixError
from envmatrix.jobs.execution import Execution, JobResult
from envmatrix.jobs.model import Job
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.remedies import explained
from envmatrix.parallel import INTERRUPTION, handling_interruptions
from envmatrix.results.recorder import cause_of
from envmatrix.sessions.failure_causes import first_error
from envmatrix.sessions.failures import Skipped, StepFailed
from envmatrix.text import printable


class Observer(Protocol):
    """Shows what happens to jobs."""

    def started(self, job: Job) -> Console:
        """Show that a job starts; return where it reports to."""

    def ended(self, job: Job, result: JobResult) -> None: ...

    def interrupted(self, jobs: Sequence[Job]) -> None:
        """Show that a signal ends the jobs that run."""


# Errors of a disk that is full or broken.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}

# Does the work of a job, and reports to a console.
Work = Callable[[Job, Console], JobResult]


def execute(execution: Execution, work: Work, observer: Observer) -> bool:
    """Do all jobs of an execution, each in a thread; return whether a signal interrupted it, which
    ends the programs that run."""
    # None is an interruption: its handler must not end this between two statements.
    ended: SimpleQueue[tuple[Job, JobResult] | None] = SimpleQueue()
    defects: list[Exception] = []
    epoch = time.monotonic()
    is_interrupted = False

    def run(job: Job, console: Console) -> None:
        started = time.monotonic()
        try:
            result = _result(work, job, console)
        except Exception as error:
            defects.append(error)
            result = JobResult("failed", message=f"internal error: {type(error).__name__}")
        seconds = result.seconds if result.state == "reused" else time.monotonic() - started
        ended.put((job, replace(result, started=started - epoch, seconds=seconds)))

    with (
        handling_interruptions(lambda: ended.put(None)),
        ThreadPoolExecutor(_most(execution)) as pool,
    ):
        while not execution.is_over:
            while job := execution.start_next(time.monotonic() - epoch):
                pool.submit(run, job, observer.started(job))
            if (end := ended.get()) is None:
                is_interrupted = True
                execution.stop("interrupted")
                observer.interrupted([*execution.running.values()])
            else:
                execution.end(*end)
                observer.ended(*end)
            if execution.is_stopped:
                INTERRUPTION.set()
    INTERRUPTION.clear()
    if defects:
        raise defects[0]
    return is_interrupted


def _first_failure(error: EnvmatrixError) -> str:
    if isinstance(error, StepFailed) and error.failures:
        return error.failures[0][1]
    return first_error(error.details)


def _most(execution: Execution) -> int:
    return max(1, len(execution.graph.jobs))


def _result(work: Work, job: Job, console: Console) -> JobResult:
    try:
        return work(job, console)
    except KeyboardInterrupt:
        return JobResult("interrupted")
    except (EnvmatrixError, OSError) as error:
        return JobResult("interrupted") if INTERRUPTION.is_set else failure_of(error)


def failure_of(error: EnvmatrixError | OSError) -> JobResult:
    """Return the result of a job that an error ended."""
    match error:
        case Skipped():
            return JobResult("skipped", message=error.message)
        case EnvmatrixError():
            message = ": ".join(filter(None, (error.message, printable(_first_failure(error)))))
            return JobResult(
                "failed",
                message=message,
                error=error.name,
                remedy=error.remedy if isinstance(error, StepFailed) else error.hint or "",
                of_infrastructure=cause_of(error) == "infrastructure",
            )
        case OSError():  # as of a full disk
            message = explained(error, cache_directory())
            is_of_disk = error.errno in _DISK_ERRORS
            return JobResult("failed", message=message, of_infrastructure=is_of_disk)
