"""Commands in comments: what an event asks for, as inputs of a pipeline and an answer."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from envmatrix.errors import ConfigurationError, Position
from envmatrix.files import content_of
from envmatrix.pipeline.comment_events import Comment, comment_of, refusal
from envmatrix.pipeline.comments import (
    LONGEST_COMMENT,
    Mistake,
    Start,
    Waive,
    code,
    commands_of,
    usage,
)
from envmatrix.pipeline.triggers import CELLS, LIBRARIES, RERUN, TIER, Engine
from envmatrix.records import dataclass
from envmatrix.results.waivers import FILE, Waiver, file_of, waivers_text

# The variable with the file of an event, and the one with the users of Jenkins.
EVENT_FILES: Mapping[Engine, str] = {
    "github": "GITHUB_EVENT_PATH",
    "gitlab": "TRIGGER_PAYLOAD",
    "jenkins": "TRIGGER_PAYLOAD",
}
USERS = "ENVMATRIX_CI_USERS"
# Names of outputs on GitHub, which are those of inputs of the workflow.
_OUTPUTS: Mapping[str, str] = {
    CELLS: "cells",
    LIBRARIES: "libraries",
    TIER: "tier",
    RERUN: "rerun",
}
# How long a waiver lasts that says nothing of it.
_DAYS = 30
# More than engines send.
_LARGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a comment: its event, what GitHub answers about the pull request, and what
    GitLab answers about the author; the users who may command on Jenkins."""

    event: Path
    change: Path | None = None
    member: Path | None = None
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What to do about a comment: start a pipeline of `branch` with `inputs`, if they are not None,
    and write the `answer`, if there is one, to the change."""

    number: int = 0
    branch: str | None = None
    inputs: Mapping[str, str] | None = None
    answer: str = ""

    def document(self) -> Mapping[str, object]:
        return {
            "start": self.inputs is not None,
            "change": self.number,
            "branch": self.branch,
            "inputs": self.inputs or {},
            "answer": self.answer,
        }

    def assignments(self) -> Iterator[str]:
        """Yield the inputs for a file of variables. No value has a line break or a quote."""
        for name, value in (self.inputs or {}).items():
            yield f"{name}={value}"


def reply_to(engine: Engine, sources: Sources, today: date) -> Reply:
    """Return what to do about a comment; nothing if it has no command."""
    details, member = map(_read_if_any, (sources.change, sources.member))
    comment = comment_of(_read(sources.event), details, member)
    if comment is None or len(comment.body) > LONGEST_COMMENT:
        return Reply()
    commands = commands_of(comment.body)
    if not commands:
        return Reply()
    if reason := refusal(comment.author, engine, sources.users):
        return Reply(comment.number, answer=f"Nothing was started: {reason}.\n")
    inputs: Mapping[str, str] | None = None
    parts = []
    for command in commands:
        if isinstance(command, Mistake):
            parts.append(f"{_sentence(command.message)}: {command.hint}\n\n{usage()}\n")
        elif isinstance(command, Waive):
            parts.append(_proposal(command, comment, today))
        elif comment.branch is None:
            parts.append(_no_branch(command, comment))
        else:
            inputs = command.inputs
            parts.append(_started(command, comment.branch))
    branch = comment.branch if inputs is not None else None
    return Reply(comment.number, branch, inputs, "\n".join(parts))


def write_outputs(reply: Reply, path: Path, token: Callable[[], str] = secrets.token_hex) -> None:
    """Append a reply to the file of outputs of a step on GitHub. A delimiter that nobody can guess
    ends each value.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings
    """
    values = {
        "start": json.dumps(reply.inputs is not None),
        "number": str(reply.number or ""),
        "branch": reply.branch or "",
        **{name: (reply.inputs or {}).get(key, "") for key, name in _OUTPUTS.items()},
        "answer": reply.answer,
    }
    with path.open("a", encoding="utf-8") as file:
        for name, value in values.items():
            delimiter = f"end-{token()}"
            file.write(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def _started(command: Start, branch: str) -> str:
    words = [f"{name}={value}" for name, value in command.inputs.items()]
    inputs = f" with {', '.join(map(code, words))}" if words else ""
    return f"{code(f'/envmatrix {command.verb}')} starts a pipeline of {code(branch)}{inputs}.\n"


def _no_branch(command: Start, comment: Comment) -> str:
    reason = (
        "the change is of a fork: its pipeline has no secrets and runs by itself; to run more, "
        "push it to a branch of this repository"
        if comment.is_of_fork
        else "nothing tells the branch of the change"
    )
    return f"{code(f'/envmatrix {command.verb}')} started nothing: {reason}.\n"


def _proposal(command: Waive, comment: Comment, today: date) -> str:
    """Return a waiver as text to commit."""
    expires = command.until or today + timedelta(days=_DAYS)
    if expires < today:
        return f"{code(str(expires))} has passed: write a later day after {code('--until')}.\n"
    waiver = Waiver(
        # A name may have parameters in brackets; other globs mean several tests.
        test=command.test.replace("[", "[[]"),
        library=command.library,
        cell=command.cell,
        owner=comment.author.name,
        bug=command.bug,
        expires=expires,
        position=Position(FILE, 1, 1),
    )
    name = file_of(waiver)
    return (
        f"To waive {code(command.test)} until {expires}, commit this as {code(name)}:\n\n"
        f"```yaml\n{waivers_text([waiver])}```\n"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _read_if_any(file: Path | None) -> object:
    return _read(file) if file else None


def _read(file: Path) -> object:
    content = content_of(file, str(file))
    if len(content) > _LARGEST:
        raise ConfigurationError(f"`{file}` has more than {_LARGEST} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"`{file}` is no JSON: {error}") from error


def users_of(text: str) -> Sequence[str]:
    """Return names with blanks or commas between them."""
    return text.replace(",", " ").split()
