"""Places where the containers of jobs run: this machine, that of a Docker context, a cluster of
Kubernetes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine import docker_client
from envmatrix.errors import EngineError
from envmatrix.facts.model import load_facts
from envmatrix.images.model import Image
from envmatrix.jobs.model import Resources
from envmatrix.machine import resources
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.leases import Queue, lease
from envmatrix.parallel import INTERRUPTION
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.engine.gpu import NoGpu
    from envmatrix.engine.tasks import Executor, Gpus
    from envmatrix.executors.remote_containers import RemoteContainers
    from envmatrix.matrix.requirements import Requirement
    from envmatrix.plan.actions import Action

# The word of the command line for a cluster; other words are Docker contexts.
KUBERNETES = "kubernetes"
# The part of the memory of another machine that is left to what else runs there.
_SPARED_PART = 8


@dataclass(frozen=True, slots=True)
class Images:
    """The names of images in a place, and what to do so that it has them."""

    names: Mapping[Image, str]
    actions: Sequence[Action] = ()


class Place(Protocol):
    """Where containers run. An interruption stops all of them. Where it `keeps_tasks`, they go on
    when this process is killed, and the next one adopts them. Where it `assigns_gpus`, tasks get
    only as many as they require. Where it `retries_tasks`, one that the engine could not run is
    tried again. Unless it `trusts_builds`, nothing is used that an earlier job left in a build
    directory."""

    keeps_tasks: bool
    assigns_gpus: bool
    retries_tasks: bool
    trusts_builds: bool

    def open_executor(self) -> AbstractContextManager[Executor]:
        """Return an executor for the tasks of one run."""

    def digest(self, image: str) -> str:
        """Return the digest of an image that runs there."""

    def images(self, workspace: Workspace, required: Sequence[Image], console: Console) -> Images:
        """Return the names of images there, and what to do on this machine before."""

    def resources(self) -> Resources:
        """Return what jobs there may take together."""

    def choose_gpu(self, requirement: Requirement | None = None) -> Gpus | NoGpu:
        """Return how to pass GPUs to tests, those that fulfil a requirement or any, or why there
        are none."""

    def measuring(self, console: Console, /) -> AbstractContextManager[None]:
        """Return the context of a measurement: it waits for the end of others on the GPUs there,
        and says so."""


class ThisMachine:
    """The engine of this machine. Containers that killed processes left behind are removed."""

    keeps_tasks = False
    assigns_gpus = False
    retries_tasks = True
    trusts_builds = True

    @contextmanager
    def open_executor(self) -> Iterator[Executor]:
        from envmatrix.engine.containers import Containers, sweep

        with docker_client.open_engine() as engine:
            sweep(engine)
            executor = Containers(engine)
            with closing(executor), INTERRUPTION.ending(executor.stop):
                yield executor

    def digest(self, image: str) -> str:
        with docker_client.open_engine() as engine:
            present = engine.image(image)
        if present is None:
            raise EngineError(f"there is no image `{image}` on this machine")
        return present.id

    def images(self, workspace: Workspace, required: Sequence[Image], console: Console) -> Images:
        from envmatrix.app.images import plan_actions

        actions = plan_actions(workspace, required, console)
        return Images({action.inputs.image: action.inputs.reference for action in actions}, actions)

    def resources(self) -> Resources:
        memory = resources.available_memory() or 0
        return Resources(resources.processors(), memory, self._gpus())

    def _gpus(self) -> int:
        """Return how many GPUs containers can have; the engine is asked if there are any."""
        count = resources.gpus()
        if not count:
            return 0
        from envmatrix.engine.gpu import NoGpu

        return 0 if isinstance(self.choose_gpu(), NoGpu) else count

    def choose_gpu(
        self, requirement: Requirement | None = None, *, device: str | None = None
    ) -> Gpus | NoGpu:
        """Return how to pass the named GPU, those that fulfil a requirement, or any; or why there
        are none."""
        from envmatrix.engine import gpu

        if requirement and not gpu.has_driver():
            return gpu.NoGpu(f"needs {requirement}: {gpu.NO_DRIVER}")
        with docker_client.connect() as client:
            facts = gpu.probe_gpu(client)
        if requirement:
            return gpu.choose_for(requirement, facts, load_facts(), device)
        return gpu.choose(facts, device)

    def measuring(self, console: Console) -> AbstractContextManager[None]:
        return _measuring_alone("this machine", console)


class _Elsewhere:
    """An executor that all runs share."""

    keeps_tasks = True
    assigns_gpus = False
    retries_tasks = True
    trusts_builds = True

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @contextmanager
    def open_executor(self) -> Iterator[Executor]:
        with INTERRUPTION.ending(self._executor.stop):
            yield self._executor


class _OtherEngine(_Elsewhere):
    """The engine of a Docker context. Images are built on this machine, and sent."""

    def __init__(self, executor: RemoteContainers) -> None:
        super().__init__(executor)
        self._containers = executor

    @cached_property
    def _info(self) -> Mapping[str, Any]:
        return self._containers.info()

    def digest(self, image: str) -> str:
        return THIS_MACHINE.digest(image)

    def images(self, workspace: Workspace, required: Sequence[Image], console: Console) -> Images:
        return THIS_MACHINE.images(workspace, required, console)

    def resources(self) -> Resources:
        from envmatrix.engine import gpu

        memory = self._info["MemTotal"] - self._info["MemTotal"] // _SPARED_PART
        return Resources(self._info["NCPU"], memory, gpu.count_elsewhere(self._info))

    def choose_gpu(self, requirement: Requirement | None = None) -> Gpus | NoGpu:
        from envmatrix.engine import gpu

        if requirement:
            return gpu.choose_elsewhere_for(requirement, self._info, load_facts())
        return gpu.choose_elsewhere(self._info)

    def measuring(self, console: Console) -> AbstractContextManager[None]:
        return _measuring_alone(str(self._info.get("ID")), console)


class _Cluster(_Elsewhere):
    """A cluster, which pulls published images. Jobs there may take `total` together; nodes have the
    models of GPUs `models`, any where that is None."""

    assigns_gpus = True

    def __init__(
        self, executor: Executor, total: Resources, models: Sequence[str] | None = None
    ) -> None:
        super().__init__(executor)
        self._total = total
        self._models = models

    def digest(self, image: str) -> str:
        return image.partition("@")[2]

    def images(self, workspace: Workspace, required: Sequence[Image], _: Console) -> Images:
        from envmatrix.app.images import published_references

        references = published_references(workspace, workspace.plan(required))
        return Images({inputs.image: name for inputs, name in references.items()})

    def resources(self) -> Resources:
        return self._total

    def choose_gpu(self, requirement: Requirement | None = None) -> Gpus | NoGpu:
        from envmatrix.engine.gpu import NoGpu, choose_in_cluster
        from envmatrix.engine.tasks import Gpus

        if requirement:
            return choose_in_cluster(requirement, self._total.gpus, load_facts(), self._models)
        reason = "`[kubernetes]` of the user's configuration has no `gpus`"
        return Gpus() if self._total.gpus else NoGpu(reason)

    def measuring(self, _: Console) -> AbstractContextManager[None]:
        return nullcontext()  # a cluster gives a GPU to one container


def _measuring_alone(machine: str, console: Console) -> AbstractContextManager[None]:
    """Return the context of a measurement that excludes those of other processes with this cache.
    All GPUs of a machine are one: a device may have several names, and they share its buses."""

    def report_wait(queue: Queue) -> None:
        others = queue.text(time.time())
        console.say(f"wait     for {others}: it measures on the same machine")

    return lease(cache_directory() / "leases", [machine], "a measurement", report_wait)


THIS_MACHINE = ThisMachine()


@contextmanager
def open_place(word: str | None) -> Iterator[Place]:
    """Yield the place that a word of the command line means; this machine without one."""
    if word is None:
        yield THIS_MACHINE
        return
    with ExitStack() as stack:
        if word == KUBERNETES:
            yield stack.enter_context(_open_cluster())
            return
        from envmatrix.executors import remote_containers

        local = stack.enter_context(docker_client.connect())
        yield _OtherEngine(stack.enter_context(remote_containers.connect(word, local)))


@contextmanager
def _open_cluster() -> Iterator[Place]:
    """Yield the cluster of `[kubernetes]` in the user's configuration."""
    from envmatrix.executors import kubernetes
    from envmatrix.executors.manifests import Cluster
    from envmatrix.machine.configuration import configured_cluster, user_configuration
    from envmatrix.registry.client import open_registry

    settings = dict(configured_cluster(user_configuration()))
    total = resources_of_cluster(settings)
    settings = {name: settings[name] for name in settings if name not in ("processors", "memory")}
    context, repository = settings.pop("context", None), settings["repository"]
    settings["repository"] = settings.pop("repository_in_pods", repository)
    models = settings.pop("gpu_models", None)
    cluster = Cluster(**settings)
    with (
        open_registry(repository) as registry,
        kubernetes.connect(cluster, registry, str, context) as executor,
    ):
        yield _Cluster(executor, total, models)


def resources_of_cluster(settings: Mapping[str, Any]) -> Resources:
    """Return what jobs may take in a cluster with these settings of the user's: by default as much
    as this machine has, and no GPU."""
    memory = settings.get("memory", 0) * 10**6 or resources.available_memory() or 0
    processors = settings.get("processors") or resources.processors()
    return Resources(processors, memory, settings.get("gpus", 0))
