"""`envmatrix images list`: the published images, by digest."""

from __future__ import annotations

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.console import output


@click.command("list", epilog="Example: envmatrix images list --json")
@options.as_json
def command(*, as_json: bool) -> None:
    """List the image of every flavour, by digest."""
    rows = [*Workspace.here().published]
    if as_json:
        display.print_json(
            [
                {
                    "environment": environment,
                    "flavour": flavour,
                    "image": index.reference,
                    "platforms": [f"linux/{arch}" for arch in sorted(index.images)],
                }
                for environment, flavour, index in rows
            ]
        )
        return
    for environment, flavour, index in rows:
        output(f"{environment} {flavour} {index.reference} {','.join(sorted(index.images))}")
