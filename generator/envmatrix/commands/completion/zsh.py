"""`envmatrix completion zsh`: print the script for zsh."""

from __future__ import annotations

import click

from envmatrix.commands.completion_scripts import script_of
from envmatrix.console import output_document


@click.command("zsh", epilog="Example: envmatrix completion zsh")
def command() -> None:
    """Print the script for zsh."""
    output_document(script_of("zsh"))
