"""`envmatrix sbom`: write bills of materials of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import output_json
from envmatrix.errors import NothingSelected
from envmatrix.render.sbom import bill_of_materials, cyclonedx, spdx

FORMATS = {"spdx": spdx, "cyclonedx": cyclonedx}


@click.command(epilog="Example: envmatrix sbom -s cuda13-x86_64 --flavour devel --output sboms")
@options.select
@click.option("--flavour", help="Only images of this flavour.")
@click.option("--format", "kind", type=click.Choice([*FORMATS]), default="spdx", show_default=True)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a file for each image into this directory.",
)
def command(
    *, patterns: Sequence[str], flavour: str | None, kind: str, output: Path | None
) -> None:
    """Write bills of materials of the selected cells' images, from the lock; build nothing."""
    workspace = Workspace.here()
    images = [image for image in workspace.images(patterns) if flavour in (None, image.name)]
    if not images:
        raise NothingSelected(f"no selected cell has an image of flavour `{flavour}`")
    if output is None and len(images) > 1:
        message = f"{len(images)} images are selected, and only one can be printed"
        hint = "write all of them: `--output sboms`; or name a `--flavour`"
        raise NothingSelected(message, hint=hint)
    environments = workspace.environments(image.environment for image in images)
    for inputs in workspace.plan(images):
        environment = environments[inputs.image.environment]
        text = FORMATS[kind](bill_of_materials(environment, inputs, workspace.lock))
        if output is None:
            output_json(text.rstrip("\n"))
            continue
        output.mkdir(parents=True, exist_ok=True)
        name = f"{inputs.image.environment}-{inputs.image.name}-{inputs.image.arch}"
        (output / f"{name}.{kind}.json").write_text(text, encoding="utf-8")
