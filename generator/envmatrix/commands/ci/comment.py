"""`envmatrix ci comment`: commands in comments on changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envmatrix.commands import display, options
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.triggers import ENGINES, engine_of

if TYPE_CHECKING:
    from envmatrix.pipeline.triggers import Engine

_FILE = click.Path(path_type=Path)


@click.command(
    "comment", epilog="Example: envmatrix ci comment --engine gitlab --event-file note.json"
)
@click.option("--engine", type=click.Choice(ENGINES), help="By default the one that runs.")
@click.option("--event-file", type=_FILE, metavar="FILE", help="The event, as the engine sends it.")
@click.option(
    "--change-file", type=_FILE, metavar="FILE", help="GitHub's answer about the pull request."
)
@click.option(
    "--member-file",
    type=_FILE,
    metavar="FILE",
    help="GitLab's answer about the author as a member.",
)
@options.reporting
def command(
    *,
    engine: Engine | None,
    event_file: Path | None,
    change_file: Path | None,
    member_file: Path | None,
    as_json: bool,
    console: Console,
) -> None:
    """Read a comment on a change, and print what to do: the inputs of a pipeline that it asks for,
    and the answer. A comment without a command, or of someone who may not command, starts nothing.

    On GitHub, both are outputs of the step: start, branch, cells, libraries, tier, rerun, number
    and answer.
    """
    from envmatrix.app.comments import (
        EVENT_FILES,
        USERS,
        Sources,
        reply_to,
        users_of,
        write_outputs,
    )

    engine = engine or engine_of(os.environ)
    if engine is None:
        hint = f"name it: `--engine {'|'.join(ENGINES)}`"
        raise ConfigurationError("no CI engine runs this", hint=hint)
    event = event_file or Path(os.environ.get(EVENT_FILES[engine], ""))
    if event == Path():
        hint = f"name it: `--event-file FILE`, or `${EVENT_FILES[engine]}`"
        raise ConfigurationError("there is no event", hint=hint)
    users = tuple(users_of(os.environ.get(USERS, "")))
    reply = reply_to(engine, Sources(event, change_file, member_file, users), options.today())
    if engine == "github" and (outputs := os.environ.get("GITHUB_OUTPUT")):
        write_outputs(reply, Path(outputs))
    display.show(reply.document() if as_json else None, reply.assignments(), as_json=as_json)
    if not as_json:
        console.say(reply.answer.strip() or "the event has no command")
