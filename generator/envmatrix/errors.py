"""All errors that a user can cause, each with its exit code.

EnvmatrixError            1  the work failed
|-- ConfigurationError    2  the matrix, `envs/`, the configuration or the command line is wrong
|-- NothingSelected       3  the selection matches no cell
|-- OutOfDate             4  the lock or a generated file does not match the matrix
|   `-- TooNew            4  a newer envmatrix wrote the lock
|-- LookupFailed          5  a resolver, a mirror or a download failed
|   `-- Absent            5  a server answered that it does not have the resource
|-- EngineError           6  the container engine is missing or failed
|-- Cancelled           130  the work was cancelled before its end
`-- InternalError        70  a defect of envmatrix; the message names a file with the traceback
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from envmatrix.records import dataclass
from envmatrix.text import one_line

# The exit code of work that could not run here, which is no failure; as in CTest and automake.
SKIPPED = 77
# The exit code of a program that a signal interrupted, as shells have it.
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{one_line(self.file)}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem: its message, its position if it is in a file, and a hint."""

    message: str
    position: Position | None = None
    hint: str | None = None

    def __str__(self) -> str:
        return self.message if self.position is None else f"{self.position}: {self.message}"


class EnvmatrixError(Exception):
    """The work failed. The message is lower case and names things in `backticks`."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, hint: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)
        self.problems: tuple[Problem, ...] = (Problem(message, hint=hint),)
        # The time of the command that failed.
        self.seconds = 0.0

    @property
    def name(self) -> str:
        """The name of the error in messages and documents, which never changes: that of its class,
        or of the nearest one above it in this module."""
        return error_name(next(kind for kind in type(self).__mro__ if kind.__module__ == __name__))


def error_name(kind: type) -> str:
    """Return the name of a class of errors: `out-of-date`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()


class ConfigurationError(EnvmatrixError):
    """A file or an argument is wrong; has all problems, not only the first."""

    exit_code = 2

    def __init__(self, *problems: Problem | str, hint: str | None = None) -> None:
        """Take all problems, or the message of a single one without a position, and its hint."""
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(
            Problem(problem, hint=hint) if isinstance(problem, str) else problem
            for problem in problems
        )


class NothingSelected(EnvmatrixError):
    exit_code = 3


class OutOfDate(EnvmatrixError):
    exit_code = 4


class TooNew(OutOfDate):
    """A newer envmatrix wrote the file; making it again would lose what this one cannot read."""


class LookupFailed(EnvmatrixError):
    exit_code = 5


class Absent(LookupFailed):
    """A server answered that it does not have the resource; a retry is useless."""


class EngineError(EnvmatrixError):
    exit_code = 6


class Cancelled(EnvmatrixError):
    """The work was cancelled, so there is no result; a retry is not wanted."""

    exit_code = INTERRUPTED


class InternalError(EnvmatrixError):
    """An unexpected exception, as reported by `cli.main`; never raised on purpose."""

    exit_code = 70
