"""`envmatrix completion install`: install the completion for a shell."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envmatrix.commands.completion_scripts import SHELLS, placement, script_of
from envmatrix.console import output
from envmatrix.errors import ConfigurationError
from envmatrix.files import read_regular, write_whole


@click.command("install", epilog="Example: envmatrix completion install zsh")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def command(*, shell: str | None) -> None:
    """Install the completion for SHELL, by default for the one that $SHELL names."""
    name = shell or _shell_of_user()
    place = placement(name, os.environ)
    write_whole(place.file, f"{script_of(name)}\n".encode())
    output(f"wrote {place.file}")
    if place.startup and _add_line(place.startup, os.fsencode(place.line)):
        output(f"added a line to {place.startup}")
    output("open a new shell to use it")


def _add_line(file: Path, line: bytes) -> bool:
    """Add a line to the end of a file, unless it is there; return whether it was added."""
    content = read_regular(file) if file.exists() else b""
    if line in content.splitlines():
        return False
    with file.open("ab") as handle:
        handle.write(b"\n" + line + b"\n")
    return True


def _shell_of_user() -> str:
    shell = os.environ.get("SHELL", "")
    name = Path(shell).name
    hint = "name one: `envmatrix completion install bash`, or zsh, or fish"
    if not shell:
        raise ConfigurationError("$SHELL is not set", hint=hint)
    if name not in SHELLS:
        raise ConfigurationError(f"$SHELL is `{shell}`, which has no completion", hint=hint)
    return name
