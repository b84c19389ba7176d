"""Does one job of a pipeline on this machine, and writes its outcome.

The pipeline makes the second attempt, on another machine: nothing is retried here.
"""

from __future__ import annotations

import os
import platform
import signal
import time
from threading import Timer
from types import TracebackType
from typing import cast, get_args

from envmatrix.app.job_execution import failure_of
from envmatrix.app.pipeline_files import PipelineFiles, revision_of
from envmatrix.app.pipeline_work import PipelineWork, RunOptions
from envmatrix.app.workspace import Workspace
from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate
from envmatrix.files import remove_entry
from envmatrix.jobs.execution import JobResult
from envmatrix.pipeline.outcomes import MOST_ATTEMPTS, JobOutcome, OutcomeState
from envmatrix.text import redacted

# The name of this machine, where that of the system is another, as in containers.
NODE = "ENVMATRIX_CI_NODE"
_LONGEST_MESSAGE = 2000
# More than any job may take.
_MOST_MINUTES = 24 * 60


def node() -> str:
    """Return the name of this machine."""
    return os.environ.get(NODE) or platform.node()


def run_job(
    workspace: Workspace, files: PipelineFiles, key: str, options: RunOptions
) -> JobOutcome:
    """Do a job that is to do; write and return its outcome. A plan that does not fit is raised,
    with an outcome as well. An interrupted job has none."""
    job = files.job(key)
    is_second = options.attempt > 1
    before = files.outcome(key) if is_second else None
    files.forget(key)
    if not is_second:
        remove_entry(files.of_job(key))
    revision = revision_of(workspace.root, files.directory)
    started, limit = time.monotonic(), _TimeLimit(job.minutes)
    failure: Exception | None = None
    try:
        with limit:
            files.require_revision(revision)
            result = PipelineWork(workspace, files, job, options).do()
    except KeyboardInterrupt:
        if not limit.is_over:
            raise
        result = JobResult("failed", message=f"it did not end within {job.minutes} minutes")
    except (EnvmatrixError, OSError) as error:
        result = failure_of(error)
        failure = error if isinstance(error, (OutOfDate, ConfigurationError)) else None
    except Exception as error:
        result, failure = JobResult("failed", message=f"internal error: {error!r}"), error
    outcome = JobOutcome(
        job.id,
        _state(result, options.attempt),
        options.attempt,
        node(),
        revision,
        files.digest,
        _message(result, before, options.attempt),
        time.monotonic() - started,
        dict(result.counts),
    )
    files.write(outcome)
    if failure:
        raise failure
    return outcome


def _state(result: JobResult, attempt: int) -> OutcomeState:
    if result.of_infrastructure and attempt < MOST_ATTEMPTS:
        return "infrastructure"
    assert result.state in get_args(OutcomeState)  # noqa: S101
    return cast("OutcomeState", result.state)


def _message(result: JobResult, before: JobOutcome | None, attempt: int) -> str:
    """Return why a job ended so, with what is known of its attempts."""
    message = "; ".join(filter(None, (result.message, result.remedy)))
    message = redacted(message)[:_LONGEST_MESSAGE]
    if before is not None and before.node == node():
        message += f"; the second attempt was on the same machine, `{before.node}`"
    if result.of_infrastructure and attempt == MOST_ATTEMPTS:
        message = f"the infrastructure failed again: {message}"
    return message.removeprefix("; ")


class _TimeLimit:
    """Interrupts this program after some minutes, as a signal does."""

    def __init__(self, minutes: float) -> None:
        self.is_over = False
        self._timer = Timer(min(minutes, _MOST_MINUTES) * 60, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.is_over = True
        os.kill(os.getpid(), signal.SIGTERM)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._timer.cancel()
