"""`envmatrix images`: list and check published images."""

from __future__ import annotations

import click

from envmatrix.commands.verbs import Verbs


@click.group(
    cls=Verbs, package=__name__, names=("check", "list"), epilog="Example: envmatrix images check"
)
def command() -> None:
    """List and check the published images of `images.lock.json`."""
