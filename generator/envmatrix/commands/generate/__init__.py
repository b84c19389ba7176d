"""`envmatrix generate`: write the committed files from the lock, hermetically."""

from __future__ import annotations

import click

from envmatrix.app.generated_files import check_generated, write_generated
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.commands.verbs import Verbs
from envmatrix.console import Console


@click.group(
    cls=Verbs,
    package=__name__,
    names=("comments", "devcontainer", "github", "gitlab", "jenkins"),
    invoke_without_command=True,
    epilog="Example: envmatrix generate --check",
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 4 if a file would change.")
@options.verbosity
@click.pass_context
def command(context: click.Context, *, check: bool, console: Console) -> None:
    """Write a Dockerfile for every environment, the scripts for them, and the JSON Schemas of
    matrix files. Update files for consumers that were generated before."""
    consumer, handle = context.invoked_subcommand, check_generated if check else write_generated
    if not consumer:
        handle(Workspace.here(), console)
    elif check:
        raise click.UsageError(f"--check is for all generated files; leave out `{consumer}`")
