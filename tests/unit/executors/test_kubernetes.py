"""Which Jobs and results of Kubernetes are those of a task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.loopback import Handler, serving
from tests.servers import Server

from envmatrix.confined import Area
from envmatrix.engine.tasks import Mount, Task
from envmatrix.errors import EngineError
from envmatrix.executors.kubernetes import Kubernetes
from envmatrix.executors.manifests import INPUTS_LABEL, Cluster, result_tag
from envmatrix.registry.manifests import MANIFEST, Manifest, canonical

client = pytest.importorskip("kubernetes.client")

IMAGE = f"registry.example/images/cell@sha256:{'1' * 64}"
CLUSTER = Cluster(namespace="builds", repository="registry.example/team/images", tool_image=IMAGE)
KEY = "0123456789abcdef0123456789abcdef01234567"


class ApiServer(Handler):
    """An API server that has Jobs, and nothing that runs them. Jobs that are `faster` appear before
    the first one of a client is created."""

    jobs: ClassVar[dict[str, Any]]
    faster: ClassVar[dict[str, Any]]
    created: ClassVar[list[str]]

    def do_GET(self) -> None:
        job = self.jobs.get(self._name)
        self._answer(200 if job else 404, job)

    def do_POST(self) -> None:  # noqa: N802 -- as the server calls it
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = job["metadata"]["name"]
        self.jobs.update(self.faster)
        if name in self.jobs:
            self._answer(409)
            return
        self.jobs[name] = job
        self.created.append(job["metadata"]["labels"][INPUTS_LABEL])
        self._answer(201, job)

    def do_DELETE(self) -> None:  # noqa: N802 -- likewise
        self._answer(200, self.jobs.pop(self._name, {}))

    @property
    def _name(self) -> str:
        return self.path.partition("?")[0].rpartition("/")[2]

    def _answer(self, status: int, document: object = None) -> None:
        headers = {"Content-Type": "application/json"}
        self.answer(status, json.dumps(document or {}).encode(), headers)


@dataclass
class Site:
    """A cluster, its registry, and a task with a source and a build directory."""

    url: str
    server: type[ApiServer]
    directory: Path
    clients: ExitStack
    registry: Server = field(default_factory=Server)

    def submit(self) -> None:
        """Submit the task by a client of its own."""
        api = self.clients.enter_context(client.ApiClient(client.Configuration(host=self.url)))
        registry = self.clients.enter_context(self.registry.client())
        Kubernetes(CLUSTER, api, registry, str).submit(KEY, self.task)

    @property
    def task(self) -> Task:
        mounts = [
            Mount(self.directory / "source", "/src"),
            Mount(Area(self.directory / "build"), "/build"),
        ]
        return Task(IMAGE, "linux/amd64", ["true"], mounts)

    def write(self, directory: str, text: str) -> None:
        (self.directory / directory).mkdir(exist_ok=True)
        (self.directory / directory / "file").write_text(text)

    def end(self) -> None:
        """Store the result of the newest Job, and remove that."""
        digest = f"sha256:{'0' * 64}"
        result = {"status": 0, "stopped": None, "out_of_memory": False, "outputs": [digest]}
        with self.registry.client() as registry:
            config = registry.put_blob(canonical({**result, "log": digest, "printed": 0}), "json")
            manifest = Manifest(MANIFEST, canonical({"config": config}))
            registry.put_manifest(result_tag(KEY, self.server.created[-1]), manifest)
        self.server.jobs.clear()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    server = type("Server", (ApiServer,), {"jobs": {}, "faster": {}, "created": []})
    with serving(server) as url, ExitStack() as clients:
        site = Site(url, server, tmp_path, clients)
        site.write("source", "old")
        yield site


def test_a_task_is_adopted_by_the_next_client(site: Site) -> None:
    site.submit()
    site.submit()
    assert len(site.server.created) == 1


def test_a_result_is_that_of_the_task(site: Site) -> None:
    site.submit()
    site.end()
    site.submit()
    assert len(site.server.created) == 1


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_task_with_other_inputs_is_not_adopted(site: Site, *, has_ended: bool) -> None:
    site.submit()
    if has_ended:
        site.end()
    site.write("source", "new")
    site.submit()
    first, second = site.server.created
    assert first != second
    (job,) = site.server.jobs.values()
    assert job["metadata"]["labels"][INPUTS_LABEL] == second


def test_a_task_is_adopted_by_who_was_killed_while_it_brought_outputs(site: Site) -> None:
    site.submit()
    site.end()
    site.write("build", "a part")
    site.submit()
    assert len(site.server.created) == 1


def test_a_job_of_a_faster_client_is_adopted_with_the_same_inputs_only(site: Site) -> None:
    site.submit()
    site.server.faster.update(site.server.jobs)
    site.server.jobs.clear()
    site.submit()
    site.server.jobs.clear()
    site.write("source", "new")
    with pytest.raises(EngineError, match="another client has started the task"):
        site.submit()
    assert len(site.server.created) == 1
