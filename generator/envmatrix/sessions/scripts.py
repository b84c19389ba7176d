"""Scripts that run the commands of steps in one container. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from envmatrix.sessions.context import Command

# First output of the shell of a second step, to its standard error.
BEGIN = b"\n"


def join_commands(commands: Sequence[Command]) -> str:
    """Join commands into a script that stops at the first failure. The first step prints to the
    standard output, the second to the standard error, and neither to both."""
    groups = [(step, tuple(rows)) for step, rows in groupby(commands, attrgetter("step"))]
    first, *others = (_group(rows) for _, rows in groups)
    assert len(others) <= 1  # noqa: S101 -- a container has two streams
    return "\n".join((f"{first} 2>&1", *(f"echo >&2\n{second} >&2" for second in others)))


# The shell puts together what is too long for one argument.
_WHOLE = 'IFS=; whole="$*"; unset IFS; set --; eval "$whole"'
# Characters, of four bytes at most; an argument may have 131,071 bytes.
_PART = 32_000


def shell_arguments(text: str) -> Sequence[str]:
    """Return the argument vector that runs a script with `sh`, however long it is."""
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    return ["sh", "-euc", _WHOLE, "sh", *parts]


def _group(commands: Iterable[Command]) -> str:
    lines = "\n".join(map(_line, commands))
    return f"{{\n{lines}\n}}"


def _line(command: Command) -> str:
    rows = command.environment.items()
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in rows)
    return f"cd {shlex.quote(command.directory)}\n{variables}{shlex.join(command.argv)}"
