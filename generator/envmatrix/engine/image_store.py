"""The engine's image store."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from math import ceil
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any

from envmatrix.console import Console
from envmatrix.engine import docker_client
from envmatrix.engine.engine_api import ANSWER_SECONDS, engine_at, local_socket, no_answer
from envmatrix.machine.cache import exclusive
from envmatrix.machine.processes import complete
from envmatrix.parallel import run_parallel
from envmatrix.plan.actions import Local
from envmatrix.store.image_records import ImageRecords

if TYPE_CHECKING:
    import docker

_REQUESTS = 4
# As many images are inspected while one more program starts.
_IMAGES_OF_REQUEST = 4
# From this number of images on, the engine is asked for many in one request. The address of a
# request has their names, which may have a megabyte in all.
_MANY = 250
_MOST_NAMES = 1_000
_FORMAT = "[{{json .RepoTags}}, {{json .Id}}, {{json .Config.Labels}}]"


def architecture(client: docker.DockerClient) -> str:
    """Return Docker's name of the engine's architecture, which may be on another machine than this
    program."""
    return docker_client.engine_of(client).architecture()


def local_images(references: Sequence[str]) -> dict[str, Local]:
    """Return reference -> image for the `references` that the engine has, and for every other name
    of these images.

    Few are inspected by name: at the engine's socket, or by the client program where the engine is
    elsewhere, because it answers before docker-py is imported. Many are listed: a request for each
    that is missing takes longer than the sizes that the engine computes of those that it lists
    (https://github.com/moby/moby/issues/47564).
    """
    by_tag = [name for name in references if "@" not in name]
    listed = by_tag if len(by_tag) >= _MANY else []
    others = [name for name in references if "@" in name] if listed else references
    count = min(_REQUESTS, ceil(len(others) / _IMAGES_OF_REQUEST))
    groups = [others[start::count] for start in range(count)]
    batches = run_parallel(_inspect, groups, count) if count > 1 else map(_inspect, groups)
    images = {name: image for batch in batches for name, image in batch.items()}
    return images | (_list(listed) if listed else {})


def recorded_images(names: Sequence[str], records: ImageRecords) -> Collection[str]:
    """Return the names of images of the engine that are recorded under these names."""
    return {
        name for name, image in local_images(names).items() if records.has(name, image.id)
    }.intersection(names)


def _inspect(references: Sequence[str]) -> dict[str, Local]:
    path = local_socket()
    rows = _inspect_by_program(references) if path is None else _inspect_at(path, references)
    return {
        name: Local(image_id, labels or {})
        for names, image_id, labels in rows
        for name in names or ()
    }


def _inspect_at(path: str, references: Sequence[str]) -> Iterator[Sequence[Any]]:
    """Yield the names, the id and the labels of images of the engine at a socket."""
    engine = engine_at(path)
    for reference in references:
        if image := engine.image(reference):
            yield image.names, image.id, image.labels


def _inspect_by_program(references: Sequence[str]) -> Iterator[Sequence[Any]]:
    """Yield the same of the engine that Docker's client reaches."""
    command = ["docker", "image", "inspect", f"--format={_FORMAT}", *references]
    with docker_client.program_required():
        try:
            done = complete(command, seconds=ANSWER_SECONDS)
        except TimeoutExpired as error:
            host = os.environ.get("DOCKER_HOST", "the context of Docker's client")
            message = f"{host}: there was no answer in {ANSWER_SECONDS:.0f} s"
            raise no_answer(message) from error
    errors = [line for line in done.stderr.splitlines() if line and "No such image" not in line]
    if done.returncode and errors:
        raise no_answer(errors[0])
    yield from map(json.loads, filter(None, done.stdout.splitlines()))


def _list(references: Sequence[str]) -> dict[str, Local]:
    groups = (
        references[start : start + _MOST_NAMES] for start in range(0, len(references), _MOST_NAMES)
    )
    with docker_client.open_engine() as engine:
        images = [image for group in groups for image in engine.images(group)]
    return {name: Local(image.id, image.labels) for image in images for name in image.names}


def name(names: Mapping[str, str]) -> None:
    """Tag images: name of an image -> additional name."""
    with docker_client.connect() as client:
        for reference, other in names.items():
            client.images.get(reference).tag(*other.rsplit(":", 1))


def locked(cache: Path, image: str, name: str, console: Console) -> AbstractContextManager[None]:
    """Hold the lock of an image that is built, pulled or pushed; `name` is its name in messages."""
    file = cache / "locks" / image.replace("/", "_")
    return exclusive(file, lambda: console.say(f"waiting  {name}: another process is at it"))


def digest(client: docker.DockerClient, reference: str) -> str | None:
    """Return the digest of an image of the engine; None where it does not exist."""
    image = docker_client.engine_of(client).image(reference)
    return image.id if image else None
