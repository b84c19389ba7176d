"""`envmatrix completion fish`: print the script for fish."""

from __future__ import annotations

import click

from envmatrix.commands.completion_scripts import script_of
from envmatrix.console import output_document


@click.command("fish", epilog="Example: envmatrix completion fish")
def command() -> None:
    """Print the script for fish."""
    output_document(script_of("fish"))
