"""The engine's image store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from envmatrix.errors import EngineError

if TYPE_CHECKING:
    import docker

_REQUESTS = 8


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """A client of the engine that the environment names; EngineError where none answers."""
    import docker  # 0.2 s that listing and explaining never pay

    try:
        client = docker.from_env(environment=dict(os.environ))
    except docker.errors.DockerException as error:
        raise EngineError(
            f"no container engine answers: {error}", hint="set one up: `envmatrix doctor --fix`"
        ) from error
    try:
        yield client
    except docker.errors.DockerException as error:
        raise EngineError(f"the container engine failed: {error}") from error
    finally:
        client.close()


def labels(client: docker.DockerClient, references: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Reference -> labels, of those `references` that the engine holds.

    One by one: the engine's list of images computes the size of every image it has.
    """
    with ThreadPoolExecutor(_REQUESTS) as pool:
        found = pool.map(lambda reference: _labels(client, reference), references)
        pairs = zip(references, found, strict=True)
        return {reference: its for reference, its in pairs if its is not None}


def _labels(client: docker.DockerClient, reference: str) -> Mapping[str, str] | None:
    from docker.errors import ImageNotFound

    try:
        return client.images.get(reference).labels
    except ImageNotFound:
        return None


def has(client: docker.DockerClient, reference: str) -> bool:
    return bool(client.api.images(reference, quiet=True))
