"""`envmatrix images check`: compare published images with the lock and the registry."""

from __future__ import annotations

import click

from envmatrix.app.published_images import check_published
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console
from envmatrix.lock.images_lock import FILE
from envmatrix.text import number_of


@click.command("check", epilog="Example: envmatrix images check")
@options.verbosity
def command(*, console: Console) -> None:
    """Check that every image of `images.lock.json` exists in the registry with its platforms.

    Exit with 1 if the registry lacks one, with 4 if one has other inputs than the lock.
    """
    count = check_published(Workspace.here())
    console.say(f"the registry has all of `{FILE}`: {number_of(count, 'image')}")
