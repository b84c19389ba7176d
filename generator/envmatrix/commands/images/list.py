"""`envmatrix images list`: the published images, by digest."""

from __future__ import annotations

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options


@click.command("list", epilog="Example: envmatrix images list --json")
@options.as_json
def command(*, as_json: bool) -> None:
    """List the image of every flavour, by digest."""
    rows = [*Workspace.here().published]
    document = [
        {
            "environment": environment,
            "flavour": flavour,
            "image": index.reference,
            "platforms": [f"linux/{arch}" for arch in sorted(index.images)],
        }
        for environment, flavour, index in rows
    ]
    lines = (
        f"{name} {flavour} {index.reference} {','.join(sorted(index.images))}"
        for name, flavour, index in rows
    )
    display.show(document, lines, as_json=as_json)
