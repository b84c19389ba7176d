"""The engine's image store."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.engine.error_texts import JOIN_GROUP, refuses_user
from envmatrix.errors import EngineError
from envmatrix.plan.actions import Local

if TYPE_CHECKING:
    import docker

_REQUESTS = 4
# An engine that unpacks a layer says nothing until it is done.
_SILENCE_SECONDS = 1800
_SET_UP = "set one up: `envmatrix doctor --fix`"
_FORMAT = "[{{json .RepoTags}}, {{json .Id}}, {{json .Config.Labels}}]"


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """Yield a client of the engine that the environment names; EngineError where none answers."""
    import docker  # 0.2 s that listing and explaining never pay

    try:
        client = docker.from_env(environment=dict(os.environ), timeout=_SILENCE_SECONDS)
    except docker.errors.DockerException as error:
        raise _no_answer(str(error)) from error
    try:
        yield client
    except docker.errors.DockerException as error:
        raise EngineError(f"the container engine failed: {error}") from error
    finally:
        client.close()


def architecture(client: docker.DockerClient) -> str:
    """Return Docker's name of the engine's architecture, which may be on another machine than this
    program."""
    return str(client.version()["Arch"])


def import_client() -> None:
    """Import docker-py in the background, while programs are waited for."""
    threading.Thread(target=import_module, args=("docker",)).start()


def local_images(references: Sequence[str]) -> dict[str, Local]:
    """Return reference -> image for the `references` that the engine has, and for every other name
    of these images.

    Each is inspected by name: the engine's list of images computes the size of every image it
    has. By the client program, which answers before docker-py is imported.
    """
    groups = [references[start::_REQUESTS] for start in range(min(_REQUESTS, len(references)))]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        batches = pool.map(_inspect, groups)
        return {name: image for batch in batches for name, image in batch.items()}


def _inspect(references: Sequence[str]) -> dict[str, Local]:
    command = ["docker", "image", "inspect", f"--format={_FORMAT}", *references]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EngineError("`docker` is missing", hint=_SET_UP) from error
    errors = [line for line in done.stderr.splitlines() if line and "No such image" not in line]
    if done.returncode and errors:
        raise _no_answer(errors[0])
    rows = map(json.loads, filter(None, done.stdout.splitlines()))
    return {
        name: Local(image_id, labels or {})
        for names, image_id, labels in rows
        for name in names or ()
    }


def _no_answer(message: str) -> EngineError:
    hint = JOIN_GROUP if refuses_user(message) else _SET_UP
    return EngineError(f"no container engine answers: {message}", hint=hint)


def name(names: Mapping[str, str]) -> None:
    """Tag images: name of an image -> additional name."""
    with engine() as client:
        for reference, other in names.items():
            client.images.get(reference).tag(*other.rsplit(":", 1))


def lock_of(cache: Path, reference: str) -> Path:
    """Return the file to lock while `reference` is built or pulled."""
    return cache / "locks" / reference.replace("/", "_")


def digest(client: docker.DockerClient, reference: str) -> str | None:
    """Return the digest of an image of the engine; None where it does not exist."""
    import docker

    try:
        return str(client.images.get(reference).id)
    except docker.errors.ImageNotFound:
        return None
