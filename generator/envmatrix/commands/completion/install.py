"""`envmatrix completion install`: install the completion for a shell."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envmatrix.commands.completion_scripts import SHELLS, placement, script_of
from envmatrix.console import output
from envmatrix.errors import ConfigurationError
from envmatrix.files import readable_text, write_whole


@click.command("install", epilog="Example: envmatrix completion install zsh")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def command(*, shell: str | None) -> None:
    """Install the completion for SHELL, by default for the one that $SHELL names."""
    name = shell or _shell_of_user()
    place = placement(name, os.environ)
    write_whole(place.file, f"{script_of(name)}\n".encode())
    output(f"wrote {place.file}")
    if place.startup and place.line not in readable_text(place.startup).splitlines():
        with place.startup.open("a", encoding="utf-8") as handle:
            handle.write(f"\n{place.line}\n")
        output(f"added a line to {place.startup}")
    output("open a new shell to use it")


def _shell_of_user() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        hint = "name one: `envmatrix completion install bash`, or zsh, or fish"
        raise ConfigurationError(f"$SHELL is `{name}`, which has no completion", hint=hint)
    return name
