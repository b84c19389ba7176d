"""Executors to test: each with a real engine or cluster behind it."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import httpx
from tests.engines import Engine
from tests.images import pushed, with_package

from envmatrix.engine import docker_client
from envmatrix.engine.containers import Containers
from envmatrix.engine.tasks import Executor, Task
from envmatrix.executors.kubernetes import Kubernetes
from envmatrix.executors.manifests import KEY_LABEL, Cluster, cluster_setup
from envmatrix.executors.remote_containers import RemoteContainers
from envmatrix.machine.origins import Origins
from envmatrix.registry.client import Registry

# The kubeconfig of a cluster whose node is this machine, and the address by which pods reach it.
KUBECONFIG = "ENVMATRIX_TEST_KUBECONFIG"
_HOST = "10.99.0.1"
# A user that this machine does not have.
_REMOTE_USER = 10_002
# Seconds until what has to happen must have.
PATIENCE = 60.0


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass
class Site:
    """An executor, and what is true of the place where it runs tasks. `connect` returns another
    client of that place, `unreachable` one of a place that does not answer; `remains` lists what
    tasks of some keys have left there; `queued` makes a task wait. `place` is the
    namespace, `user` the id of the user that tasks have."""

    executor: Executor
    image: str
    missing_image: str
    connect: Callable[[], Executor]
    unreachable: Callable[[], Executor]
    remains: Callable[[Sequence[str]], Sequence[str]]
    queued: Callable[[Task], Task] = lambda task: task
    place: str = ""
    user: int = os.getuid()
    isolates_network: bool = True
    watches_disk: bool = True
    outlives_clients: bool = False
    cluster: Cluster | None = None


@contextmanager
def local_site(engine: docker.DockerClient, image: str) -> Iterator[Site]:
    with ExitStack() as clients:

        def connect() -> Containers:
            client = docker.from_env()
            clients.callback(client.close)
            return Containers(docker_client.engine_of(client))

        def unreachable() -> Containers:
            client = docker.DockerClient("unix:///nowhere/docker.sock", version="1.45")
            clients.callback(client.close)
            return Containers(docker_client.engine_of(client))

        def remains(keys: Sequence[str]) -> Sequence[str]:
            rows = engine.api.containers(all=True, filters={"label": "envmatrix.run"})
            return [name for row in rows for name in row["Names"] if name[11:] in keys]

        yield Site(
            executor=Containers(docker_client.engine_of(engine)),
            image=image,
            missing_image="envmatrix-test/no-such-image:1",
            connect=connect,
            unreachable=unreachable,
            remains=remains,
        )


@contextmanager
def remote_site(engine: docker.DockerClient, image: str, address: str) -> Iterator[Site]:
    """The engine at an address, to which nothing of this machine can be mounted."""
    with ExitStack() as clients:

        def connect(address: str = address) -> RemoteContainers:
            client = docker.DockerClient(address, version="1.45", num_pools=docker_client.POOLS)
            clients.callback(client.close)
            return RemoteContainers(client, engine, uid=_REMOTE_USER)

        def remains(keys: Sequence[str]) -> Sequence[str]:
            rows = far.api.containers(all=True, filters={"label": "envmatrix.run"})
            names = [name[1:] for row in rows for name in row["Names"]]
            names += [str(volume.name) for volume in far.volumes.list()]
            return [name for name in names if name[10:50] in keys]

        far = docker.DockerClient(address, version="1.45", num_pools=docker_client.POOLS)
        clients.callback(far.close)
        yield Site(
            executor=connect(),
            image=image,
            missing_image="envmatrix-test/no-such-image:1",
            connect=connect,
            unreachable=lambda: connect("unix:///nowhere/docker.sock"),
            remains=remains,
            user=_REMOTE_USER,
            watches_disk=False,
            outlives_clients=True,
        )


@contextmanager
def reached_by_ssh(second: Engine, base: str, directory: Path) -> Iterator[str]:
    """Yield the address of an engine behind a real SSH server, which is in a container. `directory`
    gets a key, and a program `ssh` that uses it, for $PATH."""
    image = with_package(
        "envmatrix-test/sshd", base, Origins().archive("debian")[0], "openssh-server", '"sshd"'
    )
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    options = f"-F /dev/null -i {key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    wrapper = directory / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -q {options} "$@"\n')
    wrapper.chmod(0o755)
    socket = second.address.removeprefix("unix://")
    command = ["sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e"]
    run = ["docker", "run", "--detach", "--rm", "--publish=127.0.0.1::22", "--entrypoint="]
    mounts = {
        f"{key}.pub": "/root/.ssh/authorized_keys",
        socket: "/var/run/docker.sock",
    }
    volumes = [f"--volume={source}:{target}" for source, target in mounts.items()]
    unset = docker_client.without_proxies("env")
    container = _output_of(*run, *volumes, *unset, image, *command)
    try:
        port = _output_of("docker", "port", container, "22").rpartition(":")[2]
        yield f"ssh://root@127.0.0.1:{port}"
    finally:
        _output_of("docker", "rm", "--force", container)


def _output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Kubectl:
    """The client program of a cluster, for its administrator."""

    kubeconfig: str

    def run(self, *arguments: str, document: object = None) -> str:
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        text = None if document is None else json.dumps(document)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def read(self, *arguments: str) -> dict[str, object]:
        answer: dict[str, object] = json.loads(self.run("get", *arguments, "--output=json"))
        return answer


@contextmanager
def kubernetes_site(
    engine: docker.DockerClient, base: str, registry: str, kubeconfig: str
) -> Iterator[Site]:
    """A namespace of a cluster, used with the permissions of the documentation only."""
    from kubernetes import client, config

    kubectl = Kubectl(kubeconfig)
    python = with_package(
        "envmatrix-test/python", base, Origins().archive("debian")[0], "python3", '"python3"'
    )
    namespace = f"envmatrix-{secrets.token_hex(4)}"
    cluster = Cluster(
        namespace=namespace,
        repository=f"{_HOST}:{registry.rpartition(':')[2]}/jobs",
        tool_image=_pushed(engine, python, f"{registry}/images/python"),
        plain_http=True,
    )
    kubectl.run("create", "namespace", namespace)
    for document in cluster_setup(cluster):
        kubectl.run("apply", "--filename=-", document=document)
    token = _token(kubectl, namespace)
    configuration = client.Configuration()
    config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.api_key = {"authorization": f"Bearer {token}"}

    with ExitStack() as clients:

        def connect(host: str = configuration.host) -> Kubernetes:
            settings = client.Configuration.get_default_copy()
            settings.host, settings.verify_ssl = host, False
            settings.api_key = configuration.api_key
            api = clients.enter_context(client.ApiClient(settings))
            http = clients.enter_context(httpx.Client(timeout=30))
            return Kubernetes(cluster, api, Registry(f"{registry}/jobs", http), lambda name: name)

        def remains(keys: Sequence[str]) -> Sequence[str]:
            selector = f"--selector={KEY_LABEL}"
            rows = kubectl.read("jobs,pods", f"--namespace={namespace}", selector)["items"]
            assert isinstance(rows, list)
            return [
                row["metadata"]["name"]
                for row in rows
                if row["metadata"]["labels"][KEY_LABEL] in keys
            ]

        yield Site(
            executor=connect(),
            image=_pushed(engine, base, f"{registry}/images/base"),
            missing_image=f"{registry}/images/missing@sha256:{'0' * 64}",
            connect=connect,
            unreachable=lambda: connect("https://127.0.0.1:1"),
            remains=remains,
            queued=lambda task: replace(task, limits=replace(task.limits, processors=10_000)),
            place=namespace,
            user=cluster.user,
            isolates_network=False,
            outlives_clients=True,
            cluster=cluster,
        )
    kubectl.run("delete", "namespace", namespace, "--wait=false")


def kubernetes_configuration(site: Site, registry: str) -> str:
    """Return what the configuration of a user of a site has about its cluster."""
    assert site.cluster
    rows = {
        "namespace": site.cluster.namespace,
        "repository": f"{registry}/jobs",
        "repository_in_pods": site.cluster.repository,
        "tool_image": site.cluster.tool_image,
    }
    table = "".join(f'{name} = "{value}"\n' for name, value in rows.items())
    # The node is this machine, which emulates what the tests of the tool need.
    rest = 'plain_http = true\nemulation = {arm64 = "amd64"}\n'
    return f"[kubernetes]\n{rest}{table}"


def _pushed(engine: docker.DockerClient, image: str, name: str) -> str:
    engine.images.get(image).tag(name, "1")
    return pushed(engine, f"{name}:1")


def _token(kubectl: Kubectl, namespace: str) -> str:
    """Return the token of an account with the role of the documentation."""
    options = (f"--namespace={namespace}",)
    kubectl.run("create", "serviceaccount", "client", *options)
    account = f"--serviceaccount={namespace}:client"
    kubectl.run("create", "rolebinding", "client", "--role=envmatrix", account, *options)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "client",
            "namespace": namespace,
            "annotations": {"kubernetes.io/service-account.name": "client"},
        },
    }
    kubectl.run("apply", "--filename=-", document=secret)
    text = kubectl.run("get", "secret", "client", *options, "--output=jsonpath={.data.token}")
    return base64.b64decode(text).decode()
