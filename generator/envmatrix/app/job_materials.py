"""The materials that this machine has already: images, bases, and files of the lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from envmatrix.app.workspace import Workspace
from envmatrix.engine.image_store import recorded_images
from envmatrix.jobs.expansion import download_seconds
from envmatrix.jobs.model import Graph, Job, Kind
from envmatrix.lock.model import Lock
from envmatrix.plan.actions import Action
from envmatrix.store.artifacts import Store
from envmatrix.store.excerpts import missing_size
from envmatrix.store.image_records import ImageRecords


def without_present(
    graph: Graph, actions: Sequence[Action], workspace: Workspace
) -> tuple[Graph, set[str]]:
    """Return a graph in which images need something only if they are to be built, and downloads
    take the time for what is missing; and the ids of the jobs whose results are there."""
    missing = _names(
        action for action in actions if action.verb != "reuse" or not action.is_current
    )
    to_build = _names(action for action in actions if action.verb == "build")
    images = _jobs(graph, "image")
    present = {job.id for job in images if job.subject[0] not in missing}
    graph = graph.without_needs_of({job.id for job in images if job.subject[0] not in to_build})
    if not to_build:
        return graph, present
    sizes = _missing_sizes(_jobs(graph, "download"), workspace.lock, Store.of_user())
    present |= {key for key, size in sizes.items() if not size}
    present |= _present_bases(_jobs(graph, "base"), workspace.lock)
    return graph.lasting({key: download_seconds(size) for key, size in sizes.items()}), present


def _names(actions: Iterable[Action]) -> set[str]:
    return {str(action.inputs.image) for action in actions}


def _jobs(graph: Graph, kind: Kind) -> Sequence[Job]:
    return [job for job in graph.jobs.values() if job.kind == kind]


def _missing_sizes(downloads: Iterable[Job], lock: Lock, store: Store) -> Mapping[str, int]:
    """Return by job the bytes of the files that the store lacks."""
    return {
        job.id: sum(missing_size(store, file) for file in lock.sets[job.subject[0]].files)
        for job in downloads
    }


def _present_bases(jobs: Iterable[Job], lock: Lock) -> set[str]:
    """Return the jobs of the bases that the engine has, made by this user."""
    from envmatrix.images.environments import base_image  # takes 0.1 s

    names = {base_image(job.subject[0], lock.sets[job.subject[0]]): job.id for job in jobs}
    present = recorded_images([*names], ImageRecords.of_user())
    return {key for name, key in names.items() if name in present}
