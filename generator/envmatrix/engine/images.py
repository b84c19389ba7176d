"""The engine's image store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from envmatrix.errors import EngineError
from envmatrix.plan.actions import FINGERPRINT_LABEL

if TYPE_CHECKING:
    import docker


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


def labelled(client: docker.DockerClient) -> Mapping[str, Mapping[str, str]]:
    """Reference -> labels of all images of ours, in one request."""
    rows = client.api.images(filters={"label": FINGERPRINT_LABEL})
    return {tag: row.get("Labels") or {} for row in rows for tag in row.get("RepoTags") or ()}


def has(client: docker.DockerClient, reference: str) -> bool:
    return bool(client.api.images(reference, quiet=True))
