"""`envmatrix verify`: check that images are bit-for-bit reproducible from the lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from envmatrix.commands import display, options
from envmatrix.commands.completions import complete_environment
from envmatrix.console import Console


@click.command(epilog="Example: envmatrix verify cuda13.0-debian12")
@click.argument(
    "patterns",
    nargs=-1,
    required=True,
    metavar="ENVIRONMENT...",
    shell_complete=complete_environment,
)
@click.option(
    "--emulate", is_flag=True, help="Verify also the images that compile under emulation."
)
@click.option("--bases/--no-bases", "with_bases", default=True, help="Bootstrap bases again too.")
@click.option("--published", is_flag=True, help="Compare with the published images, by digest.")
@options.jobs
@options.reporting
def command(
    *,
    patterns: Sequence[str],
    emulate: bool,
    with_bases: bool,
    published: bool,
    jobs: int,
    as_json: bool,
    console: Console,
) -> None:
    """Rebuild images without a cache, and compare layers and configuration with the images that
    are built or published."""
    from envmatrix.app import verification
    from envmatrix.app.workspace import Workspace

    workspace = Workspace.here()
    required = workspace.images(patterns, emulate=emulate)
    if published:
        references = verification.verified_references(workspace, required)
    else:
        references = verification.built_references(workspace, required, jobs, console)
    comparisons = verification.verify_images(
        workspace, references, jobs, console, with_bases=with_bases
    )
    lines = (
        f"{'differs' if item.differences else 'equal  '} {item.image} {item.digest}"
        for item in comparisons
    )
    display.show([asdict(item) for item in comparisons], lines, as_json=as_json)
    verification.require_equal(comparisons)
