"""`envmatrix completion bash`: print the script for bash."""

from __future__ import annotations

import click

from envmatrix.commands.completion_scripts import script_of
from envmatrix.console import output_document


@click.command("bash", epilog="Example: envmatrix completion bash")
def command() -> None:
    """Print the script for bash."""
    output_document(script_of("bash"))
