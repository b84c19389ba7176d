"""`envmatrix lock`: resolve packages; the only verb that looks versions up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from envmatrix.commands import display, options
from envmatrix.console import Console
from envmatrix.matrix.files import MATRIX
from envmatrix.text import leading_lines, leading_names, number_of

if TYPE_CHECKING:
    from envmatrix.lock.audit import Audit
    from envmatrix.lock.changes import LockChanges

_MOST_NAMED = 3
# Of a changed lock.
_MOST_CHANGES = 20


@click.command(epilog="Example: envmatrix lock --upgrade g++-12")
@click.option(
    "--check", is_flag=True, help="Exit with 4 if the lock is out of date with the matrix."
)
@click.option("--upgrade", is_flag=True, help="Take newer versions of NAME..., or of everything.")
@click.option(
    "--audit",
    is_flag=True,
    help="Compare locked packages with what is offered now; exit with 4 if a finding is urgent.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would change in the lock; do not write it."
)
@click.argument("names", nargs=-1)
@options.reporting
def command(
    *,
    check: bool,
    upgrade: bool,
    audit: bool,
    dry_run: bool,
    names: tuple[str, ...],
    as_json: bool,
    console: Console,
) -> None:
    """Resolve every package and wheel of every cell to a path, a size and a sha256.

    With --upgrade or --dry-run, show which packages change, from which version to which.

    With --audit, resolve nothing: compare the locked packages with what the archives, their
    security updates and the package index offer now.
    """
    _check_options(names, check=check, upgrade=upgrade, audit=audit)
    if dry_run and (check or audit):
        raise click.UsageError("--check and --audit write nothing; leave out --dry-run")
    if as_json and not audit:
        raise click.UsageError("--json goes with --audit only")
    # 0.2 s that help and completion never pay.
    from envmatrix.app.locking import audit_lock, require_good, resolve_lock
    from envmatrix.app.workspace import find_repository
    from envmatrix.facts.recipes import shipped_recipes
    from envmatrix.images.environments import require_current_excerpts, sets_without_excerpts
    from envmatrix.lock.lock_file import FILE, load
    from envmatrix.lock.requests import require_current
    from envmatrix.matrix.loading import load_matrix

    root = find_repository()
    matrix = load_matrix(root)
    options.warn_of_ends(matrix.cells, matrix.facts, console)
    if audit:
        result = audit_lock(load(root), matrix.facts, console)
        display.show(asdict(result), _audit_lines(result), as_json=as_json)
        require_good(result)
    elif check:
        lock, recipes = load(root), shipped_recipes()
        require_current(lock, matrix, recipes)
        require_current_excerpts(lock, matrix, recipes)
        console.say(f"`{FILE}` is up to date with `{MATRIX}`")
        if keys := sets_without_excerpts(lock, matrix, recipes):
            verb = "was" if len(keys) == 1 else "were"
            console.say(
                f"{leading_names(keys, _MOST_NAMED)} {verb} not inspected for excerpts: builds "
                "download whole files of such sets until `envmatrix lock` finds what images use "
                "of them"
            )
    else:
        new = resolve_lock(root, matrix, names if upgrade else None, console)
        if new.previous and (upgrade or dry_run):
            display.show(None, _change_lines(new.changes), as_json=False)
        if dry_run:
            new.discard()
            console.say(f"`{FILE}` is not written: --dry-run")
        else:
            new.write(len(matrix.cells), console)


def _check_options(names: tuple[str, ...], *, check: bool, upgrade: bool, audit: bool) -> None:
    flags = {"--check": check, "--upgrade": upgrade, "--audit": audit}
    options_set = [name for name, is_set in flags.items() if is_set]
    if len(options_set) > 1:
        raise click.UsageError(f"{' and '.join(options_set)} do different things; give one of them")
    if names and not upgrade:
        raise click.UsageError("packages are named with --upgrade only")


def _change_lines(changes: LockChanges) -> Iterator[str]:
    """Yield what changes: at most `_MOST_CHANGES` lines, then the number of the others."""
    lines = [*_all_changes(changes)] or ["no package changes"]
    yield from leading_lines(lines, _MOST_CHANGES, "change")


def _all_changes(changes: LockChanges) -> Iterator[str]:
    if changes.epochs:
        before, after = (datetime.fromtimestamp(epoch, UTC) for epoch in changes.epochs)
        yield f"epoch {before:%Y-%m-%d %H:%M} -> {after:%Y-%m-%d %H:%M}, in every image"
    for change in changes.packages:
        yield f"{change}, in {leading_names(change.sets, 1, 'set')}"
    yield from (f"new set {key}" for key in changes.new_sets)
    yield from (f"no more set {key}" for key in changes.gone_sets)


def _audit_lines(result: Audit) -> Iterator[str]:
    for finding in result.findings:
        package = f"{finding.package} {finding.version} ({finding.arch}, {finding.where})"
        yield f"{finding.state:10} {package}: {finding.offered or 'nothing'} is offered"
    reasons: dict[str, list[str]] = {}
    for key, reason in result.not_audited.items():
        reasons.setdefault(reason, []).append(key)
    for reason, keys in reasons.items():
        yield f"not asked  {leading_names(keys, _MOST_NAMED)}: {reason}"
    findings = number_of(len(result.findings), "finding")
    yield f"audited {number_of(result.audited, 'package')}: {findings}"
