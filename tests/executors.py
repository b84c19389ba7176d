"""Executors to test: each with a real engine or cluster behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import docker

from envmatrix.engine.containers import Containers
from envmatrix.engine.tasks import Executor, Task


@dataclass
class Site:
    """An executor, and what is true of the place where it runs tasks. `connect` returns another
    client of that place, `unreachable` one of a place that does not answer; `remains` lists what
    tasks of some keys have left there; `queued` makes a task wait. `user` is the id of the user
    that tasks have."""

    executor: Executor
    image: str
    missing_image: str
    connect: Callable[[], Executor]
    unreachable: Callable[[], Executor]
    remains: Callable[[Sequence[str]], Sequence[str]]
    queued: Callable[[Task], Task] = lambda task: task
    user: int = os.getuid()
    isolates_network: bool = True
    watches_disk: bool = True
    outlives_clients: bool = False


@contextmanager
def local_site(engine: docker.DockerClient, image: str) -> Iterator[Site]:
    with ExitStack() as clients:

        def connect() -> Containers:
            client = docker.from_env()
            clients.callback(client.close)
            return Containers(client)

        def unreachable() -> Containers:
            client = docker.DockerClient("unix:///nowhere/docker.sock", version="1.45")
            clients.callback(client.close)
            return Containers(client)

        def remains(keys: Sequence[str]) -> Sequence[str]:
            rows = engine.api.containers(all=True, filters={"label": "envmatrix.run"})
            return [name for row in rows for name in row["Names"] if name[11:] in keys]

        yield Site(
            executor=Containers(engine),
            image=image,
            missing_image="envmatrix-test/no-such-image:1",
            connect=connect,
            unreachable=unreachable,
            remains=remains,
        )
