"""`envmatrix build`: the images that cells need on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import click

from envmatrix.app.images import plan_actions, provide
from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.console import Console


@click.command(epilog="Example: envmatrix build cuda12-aarch64")
@options.cells
@options.tier
@options.jobs
@click.option("--emulate", is_flag=True, help="Compile under emulation instead of crossing.")
@click.option("--force", is_flag=True, help="Build also what is up to date.")
@click.option(
    "--builder",
    envvar="BUILDX_BUILDER",
    metavar="NAME",
    help="Build with this builder of `docker buildx`, on whatever machines it has.",
)
@click.option(
    "--cache-from",
    multiple=True,
    metavar="DIR|oci://REPOSITORY",
    help="Take layers that are not final from here.",
)
@click.option(
    "--cache-to",
    multiple=True,
    metavar="DIR|oci://REPOSITORY",
    help="Keep layers that are not final here.",
)
@click.option("--pull/--no-pull", default=True, help="Pull what is published, the default.")
@options.dry_run
@options.reporting
def command(
    *,
    patterns: Sequence[str],
    tier: str | None,
    jobs: int,
    emulate: bool,
    force: bool,
    builder: str | None,
    cache_from: Sequence[str],
    cache_to: Sequence[str],
    pull: bool,
    dry_run: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Pull or build the images of the selected cells, or say why none is needed."""
    for option, places in (("--cache-from", cache_from), ("--cache-to", cache_to)):
        if invalid := [place for place in places if not _is_place(place)]:
            needed = "a directory or `oci://REPOSITORY`"
            raise click.UsageError(f"{option} needs {needed}, not `{invalid[0]}`")
    if len(cache_to) > 1 and not all(place.startswith("oci://") for place in cache_to):
        raise click.UsageError(
            "a directory has to be the only --cache-to: beside another one, its index may name "
            "layers that it does not have; build again with --force for the other"
        )
    workspace = Workspace.here()
    options.warn_of_ends(workspace.cells(patterns, tier), workspace.matrix.facts, console)
    required = workspace.images(patterns, tier=tier, emulate=emulate)
    actions = plan_actions(workspace, required, console, force=force, pull=pull)
    if as_json or dry_run:
        display.show_actions(actions, as_json=as_json)
    if dry_run:
        return
    build_options = None
    if any(action.verb == "build" for action in actions):
        from envmatrix.engine.buildx import BuildOptions

        other_builder = None if builder == "default" else builder
        build_options = BuildOptions(other_builder, tuple(cache_from), tuple(cache_to))
    provide(workspace, actions, jobs, console, build_options)


def _is_place(text: str) -> bool:
    """Return whether `text` is a directory, or `oci://` and a repository."""
    name = text.removeprefix("oci://")
    return bool(name.strip("/")) and "://" not in name
