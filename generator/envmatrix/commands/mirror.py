"""`envmatrix mirror`: copy all files of the lock to one place, for machines without a network."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.mirroring import mirror_files
from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.commands.completions import complete_directory
from envmatrix.console import Console, amount_of
from envmatrix.text import number_of


@click.command(epilog="Example: envmatrix mirror /srv/envmatrix --select cuda12-aarch64")
@click.argument("target", metavar="DIR|oci://REPOSITORY", shell_complete=complete_directory)
@options.select
@options.dry_run
@options.reporting
def command(
    *, target: str, patterns: Sequence[str], dry_run: bool, as_json: bool, console: Console
) -> None:
    """Copy every file and base that the lock has for the selected cells to a mirror.

    Files that the mirror has already are not copied again. $ENVMATRIX_MIRROR names the mirror to
    read from.
    """
    report = mirror_files(Workspace.here(), patterns, target, console, dry_run=dry_run)
    display.show(report, (), as_json=as_json)
    if not as_json:
        verb = "lacks" if dry_run else "got"
        files = number_of(report["files"], "file")
        size = amount_of(report["lacking_bytes"], "bytes")
        console.say(f"`{target}` {verb} {report['lacking']} of {files}, {size}")
