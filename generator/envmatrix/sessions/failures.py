"""Failures of the steps of a session: their messages, hints and causes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envmatrix.engine.tasks import Stop
from envmatrix.errors import SKIPPED, EnvmatrixError
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failure_causes import (
    NO_NETWORK,
    VENDOR,
    Cause,
    Judgement,
    placed_errors,
)
from envmatrix.sessions.tasks import CompletedTask

_SHOWN_LINES = 60
# More failures than these are counted, not repeated.
_MOST_FAILURES = 10


class StepFailed(EnvmatrixError):
    """Failure of a program in the container; the session ends with its exit code."""

    def __init__(
        self,
        status: int,
        cause: Cause,
        message: str,
        hint: str,
        output: Sequence[str],
        *,
        failures: Sequence[tuple[str, str]] = (),
        remedy: str = "",
        names: Sequence[str] = (),
    ) -> None:
        """Take the last `output`, and the `failures` in it, each a state and what has it: they are
        repeated below the output. `remedy` is the part of the hint about the cause, if it is
        known; `names` are of what was not there."""
        self.output, self.failures = tuple(output[-_SHOWN_LINES:]), tuple(failures)
        repeated = [f"{state:8} {text}" for state, text in failures[:_MOST_FAILURES]]
        if (more := len(failures) - _MOST_FAILURES) > 0:
            repeated.append(f"and {more} more; the log has all")
        super().__init__(message, hint=hint, details=(*self.output, *repeated))
        # The program's own, not one of ours; but what failed was never skipped.
        self.exit_code = 1 if status == SKIPPED else status  # type: ignore[misc]
        self.cause = cause
        self.remedy = remedy
        self.names = tuple(names)


class OutOfMemory(StepFailed):
    """Failure of a program that the kernel ended, because the container had no more memory."""


class Skipped(EnvmatrixError):
    """Session that cannot run here, with the reason."""


def step_hint(context: BuildContext, step: str) -> str:
    """Name the log, and the command that opens a shell to reproduce the failure."""
    emulate = "" if context.compiler.arch == context.host_arch else " --emulate"
    shell = f"envmatrix run shell {context.cell.id} --library {context.library.name}{emulate}"
    return f"the log is {context.log(step)}; a shell in the container that compiles it: `{shell}`"


# Cause, message with the limit in seconds, and hint with that of a step.
_STOPS: Mapping[Stop, tuple[Cause, str, str]] = {
    "timeout": (
        "product",
        "went on for more than {} s, and was killed with all it began",
        "{}; `timeout` in matrix.yaml is the limit",
    ),
    "disk": (
        "environment",
        "filled the disk, and was killed; what it wrote is removed",
        "`df` says what is free, `envmatrix gc --dry-run` what could be",
    ),
    "output": (
        "product",
        "printed more than a result has, and was killed",
        "{}; its standard output is read as its result",
    ),
}


def limit_reached(context: BuildContext, completed: CompletedTask) -> StepFailed | None:
    """Return the failure of a step that was killed at a limit; None where none was reached."""
    result, limits = completed.result, completed.task.limits
    where, shell = _where(context, completed.step), step_hint(context, completed.step)
    if result.out_of_memory and result.status:
        limit = f"the {limits.memory >> 20} MB" if limits.memory else "the memory"
        message = f"{where} took more than {limit} that there are, and was killed"
        hint = f"{shell}; fewer jobs: `-j 1`, or a larger `build.job_memory`"
        return OutOfMemory(result.status, "environment", message, hint, completed.lines)
    if result.stopped is None:
        return None
    cause, message, hint = _STOPS[result.stopped]
    message = f"{where} {message.format(limits.seconds)}"
    return StepFailed(result.status, cause, message, hint.format(shell), completed.lines)


def program_failed(
    context: BuildContext, completed: CompletedTask, judgement: Judgement
) -> StepFailed:
    """Return the failure of a step whose program ended by itself."""
    from envmatrix.sessions.verdicts import describe_status

    step, status = completed.step, completed.status
    reason = f": {judgement.message}" if judgement.message else ""
    message = f"{_where(context, step)} failed with {describe_status(status)}{reason}"
    hint = "; ".join(filter(None, (judgement.hint, step_hint(context, step))))
    errors = [("failed", line) for line in placed_errors(completed.lines)]
    return StepFailed(
        status,
        judgement.cause,
        message,
        hint,
        completed.lines,
        failures=errors,
        remedy=judgement.hint,
        names=judgement.names,
    )


def without_network(context: BuildContext, step: str, lines: Sequence[str]) -> StepFailed:
    """Return the failure of a step that retries network requests without a network."""
    message = f"{_where(context, step)} was ended: {NO_NETWORK}"
    hint = f"{VENDOR}; {step_hint(context, step)}"
    return StepFailed(1, "environment", message, hint, lines)


def _where(context: BuildContext, step: str) -> str:
    return f"{step} of `{context.library.name}` in `{context.cell.id}`"
