"""Remove what jobs have stored in shared places, once it is old."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from envmatrix.console import Console
from envmatrix.documentation import page
from envmatrix.errors import ConfigurationError
from envmatrix.executors import outputs
from envmatrix.executors.manifests import RESULTS
from envmatrix.executors.storage import DirectoryStorage, RegistryStorage, Storage
from envmatrix.machine.configuration import (
    configured_cluster,
    configured_jobs,
    has_cluster,
    user_configuration,
)
from envmatrix.plan.garbage import Kind, Thing, old_outputs
from envmatrix.registry.client import open_registry
from envmatrix.results.job_records import JobRecords


def collect_outputs(
    days: int,
    present: float,
    console: Console,
    *,
    show: Callable[[Sequence[Thing]], None],
    confirm: Callable[[], None],
    dry_run: bool,
) -> None:
    """Find outputs and results of jobs that are older than so many days, and that no record has;
    show them; remove them after `confirm`, which may raise. `present` is the time, in seconds of
    the epoch."""
    with ExitStack() as stack:
        storages = dict(_storages(stack))
        if not storages:
            hint = (
                f"{page('jobs')} explains `outputs` of `[jobs]`, {page('executors')} `[kubernetes]`"
            )
            raise ConfigurationError("nothing says where jobs store outputs", hint=hint)
        recorded = {digest.removeprefix("sha256:") for digest in JobRecords.of_user().outputs()}
        things = old_outputs(_things(storages, present), recorded, days)
        show(things)
        if dry_run or not things:
            return
        confirm()
        for thing in things:
            try:
                storages[thing.kind].remove(thing.key)
            except OSError as error:
                console.warn(f"the {thing.kind} `{thing.key}` stays: {error.strerror}")


def _storages(stack: ExitStack) -> Iterator[tuple[Kind, Storage]]:
    """Yield the places that the user's configuration names, by what they have."""
    file = user_configuration()
    place = configured_jobs(file).outputs
    if place and place.startswith(outputs.SCHEME):
        registry = stack.enter_context(open_registry(place.removeprefix(outputs.SCHEME)))
        yield "job output", RegistryStorage(registry, outputs.OUTPUTS)
    elif place:
        yield "job output", DirectoryStorage(Path(place))
    if has_cluster(file):
        registry = stack.enter_context(open_registry(configured_cluster(file)["repository"]))
        yield "task result", RegistryStorage(registry, RESULTS)


def _things(storages: Mapping[Kind, Storage], present: float) -> Iterator[Thing]:
    for kind, storage in storages.items():
        for thing in storage.things():
            yield Thing(kind, thing.name, thing.size, present - thing.stored)
