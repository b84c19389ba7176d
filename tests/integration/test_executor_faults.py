"""Executors whose client is killed, or whose API server or engine goes away: nothing is lost, and
nothing runs twice."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import docker
import pytest
from tests.engines import Engine, second_engine
from tests.executors import (
    KUBECONFIG,
    Kubectl,
    Site,
    kubernetes_site,
    remote_site,
    wait_until,
)

from envmatrix.confined import Area
from envmatrix.engine.tasks import Executor, Mount, Task, run
from envmatrix.executors.manifests import KEY_LABEL
from envmatrix.executors.remote_containers import RemoteContainers

# The certificate of a cluster for tests is its own.
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

_TASKS = 100
_AT_ONCE = 16
_PATIENCE = 120.0


@pytest.fixture(scope="module")
def kubeconfig() -> str:
    kubeconfig = os.environ.get(KUBECONFIG)
    if not kubeconfig:
        pytest.skip(f"${KUBECONFIG} names no cluster")
    return kubeconfig


@pytest.fixture(scope="module")
def kubernetes(
    engine: docker.DockerClient, base: str, registry: str, kubeconfig: str
) -> Iterator[Site]:
    with kubernetes_site(engine, base, registry, kubeconfig) as site:
        yield site


def new_key() -> str:
    return secrets.token_hex(20)


def task_in(directory: Path, site: Site, script: str) -> Task:
    mounts = [Mount(Area(directory), "/build")]
    return Task(site.image, "linux/amd64", ["sh", "-c", script], mounts, directory="/build")


def run_all(executor: Executor, tasks: dict[str, Task], results: Path) -> None:
    """Run tasks that have no result yet, as the journal of jobs does."""

    def run_one(key: str) -> None:
        output: list[bytes] = []
        result = run(executor, key, tasks[key], lambda _stream, printed: output.append(printed))
        file = results / key
        file.with_suffix(".new").write_text(f"{result.status} {b''.join(output).decode()}")
        file.with_suffix(".new").rename(file)

    missing = [key for key in tasks if not (results / key).exists()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for each in [pool.submit(run_one, key) for key in missing]:
            each.result()


def kill_after(seconds: float, site: Site, tasks: dict[str, Task], results: Path) -> None:
    """Run tasks in another process, and kill it."""
    client = os.fork()
    if client == 0:
        with suppress(BaseException):
            run_all(site.connect(), tasks, results)
        os._exit(0)
    time.sleep(seconds)
    os.kill(client, signal.SIGKILL)
    os.waitpid(client, 0)


@contextmanager
def recorded_pods(kubectl: Kubectl, namespace: str) -> Iterator[set[tuple[str, str]]]:
    """Record the key and the id of every pod that exists while the block runs."""
    pods: set[tuple[str, str]] = set()
    columns = f"custom-columns=K:.metadata.labels.{KEY_LABEL.replace('.', chr(92) + '.')}"
    command = [
        *("kubectl", f"--kubeconfig={kubectl.kubeconfig}", "get", "pods", "--watch"),
        *(f"--namespace={namespace}", "--no-headers", f"--output={columns},U:.metadata.uid"),
    ]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def record() -> None:
        assert watcher.stdout
        for row in watcher.stdout:
            key, uid = row.split()
            pods.add((key, uid))

    recorder = threading.Thread(target=record)
    recorder.start()
    try:
        yield pods
    finally:
        watcher.terminate()
        watcher.wait()
        recorder.join()
        assert watcher.stdout
        watcher.stdout.close()


@pytest.mark.long
def test_a_hundred_tasks_run_once_on_kubernetes_though_their_client_is_killed_twice(
    kubernetes: Site, kubeconfig: str, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    tasks = {
        new_key(): task_in(tmp_path / str(number), kubernetes, f"echo {number} | tee file; exit 3")
        for number in range(_TASKS)
    }
    with recorded_pods(Kubectl(kubeconfig), kubernetes.place) as pods:
        for seconds in (20, 30):
            kill_after(seconds, kubernetes, tasks, results)
            assert len([*results.iterdir()]) < _TASKS
        run_all(kubernetes.executor, tasks, results)
    for number, key in enumerate(tasks):
        assert (results / key).read_text() == f"3 {number}\n"
        with Area(tmp_path / str(number)).opened() as directory:
            assert directory.text("file") == f"{number}\n"
    assert Counter(key for key, _ in pods) == dict.fromkeys(tasks, 1)
    wait_until(lambda: kubernetes.remains([*tasks]) == [])  # pods end after their Jobs


@pytest.mark.long
def test_a_task_survives_a_restart_of_the_api_server_of_kubernetes(
    kubernetes: Site, kubeconfig: str, tmp_path: Path
) -> None:
    """It is killed as soon as it has accepted the Job, while the client may wait for the answer."""
    file = Path(kubeconfig).parent / "run/apiserver.pid"
    if not file.exists():
        pytest.skip("the API server of this cluster cannot be restarted")
    kubectl, key = Kubectl(kubeconfig), new_key()
    task = task_in(tmp_path / "area", kubernetes, "echo run >>runs; sleep 3; cat runs")
    output: list[bytes] = []
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(
            run, kubernetes.executor, key, task, lambda _stream, printed: output.append(printed)
        )
        end = time.monotonic() + _PATIENCE
        while not kubernetes.remains([key]):
            assert time.monotonic() < end
        restart(file, kubectl)
        assert ended.result(_PATIENCE).status == 0
    assert b"".join(output) == b"run\n"


def restart(file: Path, kubectl: Kubectl) -> None:
    """Kill a server by the file with its pid, and start it again three seconds later."""
    pid = int(file.read_text())
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    os.kill(pid, signal.SIGKILL)
    time.sleep(3)
    with file.with_suffix(".log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    file.write_text(f"{server.pid}\n")
    server.returncode = 0  # it outlives this test
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with suppress(AssertionError):
            kubectl.run("get", "--raw", "/readyz")
            return
        time.sleep(0.5)


@pytest.fixture
def remote(engine: docker.DockerClient, base: str) -> Iterator[tuple[Site, Engine]]:
    with second_engine() as second, remote_site(engine, base, second.address) as site:
        yield site, second


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:.*socket.socket")
def test_a_task_whose_engine_disappears_and_returns_has_no_wrong_result(
    remote: tuple[Site, Engine], tmp_path: Path
) -> None:
    """The containers of an engine that is killed end with it."""
    site, second = remote
    start = threading.Event()
    task = task_in(tmp_path / "area", site, "echo begun; sleep 300")
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(
            run, site.executor, new_key(), task, lambda _stream, _printed: start.set()
        )
        assert start.wait(_PATIENCE)
        second.kill()
        second.start()
        error = ended.exception(_PATIENCE)
        status = None if error else ended.result().status
    assert error or status
    cast("RemoteContainers", site.executor).close()
    gc.collect()  # docker-py leaves a socket open that cannot be connected
