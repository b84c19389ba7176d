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

from envmatrix.engine.refusals import JOIN_GROUP, refuses_user
from envmatrix.errors import EngineError
from envmatrix.plan.actions import Local

if TYPE_CHECKING:
    import docker

_REQUESTS = 4
# An engine that unpacks a layer says nothing until it is done.
_SILENCE_SECONDS = 1800
_SET_UP = "set one up: `envmatrix doctor --fix`"
_WHAT_IS_ASKED = "[{{json .RepoTags}}, {{json .Id}}, {{json .Config.Labels}}]"


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """A client of the engine that the environment names; EngineError where none answers."""
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
    """Docker's name of the architecture that the engine builds on: it may be another machine's than
    this program's."""
    return str(client.version()["Arch"])


def import_client() -> None:
    """Import docker-py in the background: there is time while programs are waited for."""
    threading.Thread(target=import_module, args=("docker",)).start()


def there(references: Sequence[str]) -> dict[str, Local]:
    """Reference -> image, of those `references` that the engine holds, and under every other name
    that these images have.

    Each is asked for by name: the engine's list of images computes the size of every image it
    has. By the client program, which answers before docker-py is imported.
    """
    groups = [references[start::_REQUESTS] for start in range(min(_REQUESTS, len(references)))]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return {name: its for found in pool.map(_there, groups) for name, its in found.items()}


def _there(references: Sequence[str]) -> dict[str, Local]:
    command = ["docker", "image", "inspect", f"--format={_WHAT_IS_ASKED}", *references]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EngineError("`docker` is missing", hint=_SET_UP) from error
    said = [line for line in done.stderr.splitlines() if line and "No such image" not in line]
    if done.returncode and said:
        raise _no_answer(said[0])
    rows = map(json.loads, filter(None, done.stdout.splitlines()))
    return {name: Local(its, labels or {}) for names, its, labels in rows for name in names or ()}


def _no_answer(said: str) -> EngineError:
    hint = JOIN_GROUP if refuses_user(said) else _SET_UP
    return EngineError(f"no container engine answers: {said}", hint=hint)


def name(names: Mapping[str, str]) -> None:
    """Have the engine call each image, by a name it has, by another one as well."""
    with engine() as client:
        for reference, other in names.items():
            client.images.get(reference).tag(*other.rsplit(":", 1))


def lock_of(cache: Path, reference: str) -> Path:
    """The file that whoever makes `reference` holds."""
    return cache / "locks" / reference.replace("/", "_")


def digest(client: docker.DockerClient, reference: str) -> str | None:
    """The digest of an image of the engine; None for none."""
    import docker

    try:
        return str(client.images.get(reference).id)
    except docker.errors.ImageNotFound:
        return None
