"""Places where the containers of jobs run: this machine, that of a Docker context, a cluster of
Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from envmatrix.app.images import plan_actions, published_references
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import docker_client
from envmatrix.engine.tasks import Executor, Gpus
from envmatrix.images.model import Image
from envmatrix.machine.configuration import configured_cluster, user_configuration
from envmatrix.parallel import INTERRUPTION
from envmatrix.plan.actions import Action

if TYPE_CHECKING:
    from envmatrix.engine.gpu import NoGpu

# The word of the command line for a cluster; other words are Docker contexts.
KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class Images:
    """The names of images in a place, and what to do so that it has them."""

    names: Mapping[Image, str]
    actions: Sequence[Action] = ()


class Place(Protocol):
    """Where containers run. An interruption stops all of them. Where it `keeps_tasks`, they go on
    when this process is killed, and the next one adopts them."""

    keeps_tasks: bool

    def open_executor(self) -> AbstractContextManager[Executor]:
        """Return an executor for the tasks of one run."""

    def digest(self, image: str) -> str:
        """Return the digest of an image that runs there."""

    def images(self, workspace: Workspace, required: Sequence[Image], console: Console) -> Images:
        """Return the names of images there, and what to do on this machine before."""

    def choose_gpu(self, device: str | None = None) -> Gpus | NoGpu:
        """Return how to pass the named GPU, or any; or why there is none."""


class ThisMachine:
    """The engine of this machine. Containers that killed processes left behind are removed."""

    keeps_tasks = False

    @contextmanager
    def open_executor(self) -> Iterator[Executor]:
        from envmatrix.engine.containers import Containers, sweep

        with docker_client.connect() as client:
            sweep(client)
            executor = Containers(client)
            with INTERRUPTION.ending(executor.stop):
                yield executor

    def digest(self, image: str) -> str:
        with docker_client.connect() as client:
            return str(client.images.get(image).id)

    def images(self, workspace: Workspace, required: Sequence[Image], console: Console) -> Images:
        actions = plan_actions(workspace, required, console)
        return Images({action.inputs.image: action.inputs.reference for action in actions}, actions)

    def choose_gpu(self, device: str | None = None) -> Gpus | NoGpu:
        from envmatrix.engine import gpu

        with docker_client.connect() as client:
            return gpu.choose(gpu.probe_gpu(client), device)


class _Elsewhere:
    """An executor that all runs share. What runs there runs without GPUs."""

    keeps_tasks = True

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @contextmanager
    def open_executor(self) -> Iterator[Executor]:
        with INTERRUPTION.ending(self._executor.stop):
            yield self._executor

    def choose_gpu(self, device: str | None = None) -> Gpus | NoGpu:  # noqa: ARG002
        from envmatrix.engine.gpu import NoGpu

        return NoGpu("jobs on other machines get no GPU yet")


class _OtherEngine(_Elsewhere):
    """The engine of a Docker context. Images are built on this machine, and sent."""

    def digest(self, image: str) -> str:
        return THIS_MACHINE.digest(image)

    def images(self, workspace: Workspace, required: Sequence[Image], console: Console) -> Images:
        return THIS_MACHINE.images(workspace, required, console)


class _Cluster(_Elsewhere):
    """A cluster, which pulls published images."""

    def digest(self, image: str) -> str:
        return image.partition("@")[2]

    def images(self, workspace: Workspace, required: Sequence[Image], _: Console) -> Images:
        references = published_references(workspace, workspace.plan(required))
        return Images({inputs.image: name for inputs, name in references.items()})


THIS_MACHINE = ThisMachine()


@contextmanager
def open_place(word: str | None) -> Iterator[Place]:
    """Yield the place that a word of the command line means; this machine without one."""
    if word is None:
        yield THIS_MACHINE
        return
    with ExitStack() as resources:
        if word == KUBERNETES:
            yield _Cluster(resources.enter_context(_cluster_executor()))
            return
        from envmatrix.executors import remote_containers

        local = resources.enter_context(docker_client.connect())
        yield _OtherEngine(resources.enter_context(remote_containers.connect(word, local)))


@contextmanager
def _cluster_executor() -> Iterator[Executor]:
    """Yield the executor of `[kubernetes]` in the user's configuration."""
    from envmatrix.executors import kubernetes
    from envmatrix.executors.manifests import Cluster
    from envmatrix.registry.client import open_registry

    settings = dict(configured_cluster(user_configuration()))
    context, repository = settings.pop("context", None), settings["repository"]
    settings["repository"] = settings.pop("repository_in_pods", repository)
    cluster = Cluster(**settings)
    with (
        open_registry(repository) as registry,
        kubernetes.connect(cluster, registry, str, context) as executor,
    ):
        yield executor
