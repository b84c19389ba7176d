"""`envmatrix gc`: remove images and files that no checkout on this machine needs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

import click

from envmatrix.commands import display, options
from envmatrix.console import Console, amount_of
from envmatrix.errors import ConfigurationError
from envmatrix.plan.garbage import Thing


@click.command(epilog="Example: envmatrix gc --keep v1.2 --dry-run")
@click.option(
    "--keep",
    "revisions",
    multiple=True,
    metavar="REV",
    help="Keep what the lock at this git revision needs as well.",
)
@click.option(
    "--outputs-older-than",
    "days",
    type=click.IntRange(min=1),
    metavar="DAYS",
    help="Remove instead what jobs have stored in shared places, where no record has it.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options.dry_run
@options.reporting
def command(
    *,
    revisions: Sequence[str],
    days: int | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Remove images and files that no lock on this machine needs any more.

    Keep everything that the lock of this repository needs, and those of every other repository that
    was locked, built or pulled for with this cache. Remove nothing that envmatrix did not make, and
    no image made with another cache.
    """
    if revisions and days is not None:
        raise click.UsageError("--keep is for images and files, which --outputs-older-than keeps")
    show, confirm = partial(_show, as_json=as_json), (lambda: None) if yes else _confirm
    if days is not None:
        from envmatrix.app.stored_outputs import collect_outputs

        collect_outputs(days, time.time(), console, show=show, confirm=confirm, dry_run=dry_run)
        return
    from envmatrix.app.garbage import collect_garbage  # httpx
    from envmatrix.app.workspace import find_repository

    root = find_repository()
    collect_garbage(root, revisions, console, show=show, confirm=confirm, dry_run=dry_run)


def _show(things: Sequence[Thing], *, as_json: bool) -> None:
    rows = [{"kind": thing.kind, "names": thing.names, "bytes": thing.size} for thing in things]
    display.show(rows, _lines(things), as_json=as_json)


def _lines(things: Sequence[Thing]) -> Iterator[str]:
    for kind in dict.fromkeys(thing.kind for thing in things):
        group = [thing for thing in things if thing.kind == kind]
        total = amount_of(sum(thing.size for thing in group), "bytes")
        yield f"{kind:14} {len(group):5} {total:>9}"
        for thing in group if kind in {"image", "base image"} else ():
            yield f"               {', '.join(thing.names)}"
    total = amount_of(sum(thing.size for thing in things), "bytes")
    shared = {thing.kind for thing in things} & {"image", "base image"}
    remark = "; layers that images share count in each" if shared else ""
    yield f"{'in all':14} {len(things):5} {total:>9}{remark}"


def _confirm() -> None:
    if not sys.stdin.isatty():
        hint = "add `--yes`, or `--dry-run`"
        raise ConfigurationError("nothing was removed: nobody can be asked", hint=hint)
    click.confirm("Remove them?", abort=True, err=True)
