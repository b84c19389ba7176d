"""Remove images and files that no checkout on this machine needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from envmatrix.app.revisions import committed_files
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import bases, docker_client, inventory
from envmatrix.engine.builder import context_name
from envmatrix.engine.transfer import sweep_names
from envmatrix.errors import EnvmatrixError
from envmatrix.lock.lock_file import load
from envmatrix.lock.model import Lock
from envmatrix.machine.cache import cache_directory, forget_checkout, recorded_checkouts
from envmatrix.plan.garbage import Thing, Used, garbage, images_made_of, planned_images, used_by
from envmatrix.store.image_records import ImageRecords
from envmatrix.text import leading_names

_EXCLUDED = (
    "left alone: images that this cache did not make, BuildKit's cache (`docker buildx prune`), "
    "compiler caches that a checkout uses, which limit themselves"
)

# More checkouts than these are counted, not named.
_MOST_NAMED = 3


def collect_garbage(
    root: Path,
    revisions: Sequence[str],
    console: Console,
    *,
    show: Callable[[Sequence[Thing]], None],
    confirm: Callable[[], None],
    dry_run: bool,
) -> None:
    """Find what neither the checkouts of this cache nor `revisions` of this one need, and show it;
    remove it after `confirm`, which may raise."""
    cache = cache_directory()
    checkouts = recorded_checkouts(cache)
    if not checkouts:
        console.say(
            f"`{cache}` does not know which repositories use it, so nothing is removed; "
            "`envmatrix build` in each of them tells it"
        )
        show(())
        return
    removed = [path for path in checkouts if not path.is_dir()]
    used = _used([root, *(path for path in checkouts if path not in removed)])
    for revision in revisions:
        with committed_files(root, revision) as directory:
            used |= used_in(directory)
    with docker_client.connect() as client:
        if not dry_run:
            sweep_names(client, cache)
        things = garbage(inventory.stored_things(cache, client), used)
        if removed:
            console.warn(_gone_text(removed))
        show(things)
        console.say(_EXCLUDED)
        if dry_run or not things:
            return
        confirm()
        reasons = [inventory.give_up(thing, cache, client) for thing in things]
    for path in removed:
        forget_checkout(cache, path)
    for thing, reason in zip(things, reasons, strict=True):
        if reason:
            console.warn(f"{thing.names[0]} stays: {reason}")


def _gone_text(checkouts: Sequence[Path]) -> str:
    names = leading_names([f"`{path}`" for path in checkouts], _MOST_NAMED)
    verb = "is" if len(checkouts) == 1 else "are"
    return f"{names} {verb} gone, and what only they needed is not kept"


def _used(roots: Iterable[Path]) -> Used:
    used = Used()
    for root in roots:
        try:
            used |= used_in(root)
        except EnvmatrixError as error:
            message = f"what `{root}` needs cannot be told, so nothing is removed: {error.message}"
            hint = "mend its lock, or remove that repository"
            raise EnvmatrixError(message, hint=hint) from error
    return used


def used_in(root: Path) -> Used:
    lock = load(root)
    package_sets = lock.sets.values()
    return used_by(
        lock,
        _images_of(root, lock),
        [context_name(package_set.files) for package_set in package_sets],
        [bases.base_identity(base, lock.epoch) for base in package_sets if base.diff_id],
    )


def _images_of(root: Path, lock: Lock) -> frozenset[str]:
    """Return the fingerprints of the images that a repository needs: where its matrix is being
    edited, of all that have only files of its lock."""
    workspace = Workspace(root)
    try:
        names = {cell.environment for cell in workspace.matrix.cells} if workspace.lock else set()
        return planned_images(workspace.definitions(names))
    except EnvmatrixError:
        return images_made_of(lock, ImageRecords.of_user().all_contents())
