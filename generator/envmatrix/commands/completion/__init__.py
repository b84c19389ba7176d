"""`envmatrix completion`: completion of command lines by bash, zsh and fish."""

from __future__ import annotations

import click

from envmatrix.commands.verbs import Verbs


@click.group(
    cls=Verbs,
    package=__name__,
    names=("bash", "fish", "install", "zsh"),
    epilog="Example: envmatrix completion install",
)
def command() -> None:
    """Complete verbs, options, cells, libraries, steps and places in bash, zsh and fish."""
