from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from envmatrix.confined import Area
from envmatrix.engine import containers
from envmatrix.engine.containers import (
    _OWNER,
    _owner,
    container_document,
    sweep,
    user_entries,
    user_name,
)
from envmatrix.engine.engine_api import Engine, RequestFailed
from envmatrix.engine.tasks import TIMED_OUT, Gpus, Limits, Mount, Task, TaskResult
from envmatrix.engine.tasks import run as run_task
from envmatrix.errors import EngineError

# The kernel may give a signal for a process to any thread of it.
PROGRAM = """
import select, signal, threading
from envmatrix.engine.containers import watch_limits
from envmatrix.engine.tasks import Task

signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    with watch_limits(None, Task("image", "linux/amd64", [], [])):
        (watcher,) = set(threading.enumerate()) - {threading.main_thread()}
        told = (watcher.ident, signal.SIGTERM)
        threading.Timer(0.1, signal.pthread_kill, told).start()
        select.poll().poll()  # for ever
except KeyboardInterrupt:
    print("interrupted")
"""


def test_whoever_waits_for_a_container_is_interrupted_by_a_signal_to_another_thread() -> None:
    program = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "interrupted\n"


@dataclass
class LeftoverContainer:
    """An engine with one container, which is of the process that its label names."""

    owner: str
    removed: list[str] = field(default_factory=list)

    def containers(self, label: str) -> dict[str, str]:
        assert label == _OWNER
        return {"c1": self.owner}

    def remove(self, name: str) -> None:
        self.removed.append(name)


GONE = " 999999999 12345"


@pytest.mark.parametrize(
    ("owner", "is_swept"),
    [
        (_owner(os.getpid()).split(" ", 1)[0] + GONE, True),
        (_owner(os.getpid()), False),
        (f"another-machine/pid:[1]{GONE}", False),
        # A container on this machine's network has its name, and numbers of its own.
        (f"{platform.node()}/pid:[1]{GONE}", False),
        ("", False),
    ],
    ids=["gone", "this one", "another machine", "another namespace", "none"],
)
def test_only_containers_of_processes_that_can_be_seen_are_swept(
    owner: str, is_swept: bool
) -> None:
    engine = LeftoverContainer(owner)
    assert sweep(cast("Engine", engine)) == is_swept
    assert bool(engine.removed) == is_swept


TASK = Task(
    "image",
    "linux/amd64",
    ["true"],
    [Mount(Path('/with:colon, "quote"\n/ü'), "/src"), Mount(Area(Path("/b:c")), "/build")],
    {"A": "1"},
)


def mounts_of(task: Task) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = container_document(task)["HostConfig"]["Mounts"]
    return mounts


def environment_of(task: Task) -> dict[str, str]:
    return dict(line.split("=", 1) for line in container_document(task)["Env"])


def test_directories_of_any_name_are_mounted_and_only_areas_can_be_written() -> None:
    mounts = {mount["Target"]: (mount["Source"], mount["ReadOnly"]) for mount in mounts_of(TASK)}
    assert mounts["/src"] == ('/with:colon, "quote"\n/ü', True)
    assert mounts["/build"] == ("/b:c", False)
    assert all(mount["Type"] == "bind" for mount in mounts_of(TASK))


def test_containers_have_a_locale_a_user_and_a_host_that_resolves() -> None:
    environment = environment_of(TASK)
    assert {"LANG": "C.UTF-8", "HOME": "/tmp", "A": "1"}.items() <= environment.items()
    assert environment["USER"] == environment["LOGNAME"] == user_name(os.getuid())
    document = container_document(TASK)
    assert document["HostConfig"]["ExtraHosts"] == [f"{document['Hostname']}:127.0.0.1"]


def test_containers_have_no_proxies_of_the_configuration_of_dockers_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies = {"proxies": {"default": {"httpProxy": "http://user:secret@proxy"}}}
    (tmp_path / "config.json").write_text(json.dumps(proxies))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert "proxy" not in str(container_document(TASK)).lower()


@pytest.mark.parametrize(
    ("limits", "shared"),
    [
        (Limits(), 1 << 30),
        (Limits(memory=8 << 30), 4 << 30),
        (Limits(memory=8 << 30, shared_memory=6 << 30), 6 << 30),
    ],
)
def test_memory_is_shared_as_the_library_says_or_half_of_it(limits: Limits, shared: int) -> None:
    assert container_document(replace(TASK, limits=limits))["HostConfig"]["ShmSize"] == shared


def test_what_a_library_says_of_its_environment_counts() -> None:
    task = replace(TASK, environment={"LANG": "C", "USER": "x"})
    assert {"LANG": "C", "USER": "x"}.items() <= environment_of(task).items()


@pytest.mark.parametrize(("uid", "gid"), [(12345, 12345), (1000, 100), (1000, 0), (65534, 65534)])
def test_a_user_that_no_image_has_is_one_that_containers_know(uid: int, gid: int) -> None:
    entries = user_entries(uid, gid)
    users = [row.split(":") for row in entries["/etc/passwd"].splitlines()]
    groups = [row.split(":") for row in entries["/etc/group"].splitlines()]
    (own,) = [row for row in users if row[2] == str(uid)]
    assert own[0] == user_name(uid)
    assert [row for row in groups if row[2] == str(gid)]
    assert {len(row) for row in users} == {7}
    assert {len(row) for row in groups} == {4}
    assert "root" in {row[0] for row in users}


def test_root_is_whom_the_image_says() -> None:
    assert user_entries(0, 0) == {}


class FakeTermination:
    """A termination that kills nothing and keeps its reason."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.is_over = False

    def stop(self, reason: str) -> None:
        self.reason, self.is_over = reason, True


def test_output_that_is_kept_has_a_limit_at_which_the_container_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "_MOST_STDOUT", 100)
    stopped = FakeTermination()
    streams: list[int] = []
    chunks = [(1, b"x" * 1000), *[(0, b"y" * 60)] * 100]

    stdout = containers._KeptStdout(is_kept=True)
    containers._follow(
        iter(chunks),
        lambda stream, _: streams.append(stream),
        stopped,  # type: ignore[arg-type]
        stdout,
    )

    assert (stopped.reason, len(stdout.text)) == ("output", 120)
    assert streams == [1, 0, 0]


@pytest.mark.parametrize(
    ("gpus", "requests"),
    [
        (None, []),
        (Gpus("nvidia.com/gpu=0"), [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}]),
        (Gpus(), [{"Count": -1, "Capabilities": [["gpu"]]}]),
    ],
    ids=["none", "by CDI", "all"],
)
def test_a_container_has_the_gpus_of_its_task(gpus: Gpus | None, requests: list[object]) -> None:
    host = container_document(replace(TASK, gpus=gpus))["HostConfig"]
    assert host["DeviceRequests"] == requests


@pytest.mark.parametrize(
    ("limits", "seconds", "free_disk", "reason"),
    [
        (Limits(), 1e9, 0, None),
        (Limits(seconds=60), 60, 0, None),
        (Limits(seconds=60), 61, 0, "timeout"),
        (Limits(free_disk=100), 1e9, 100, None),
        (Limits(free_disk=100), 1e9, 99, "disk"),
        (Limits(seconds=60, free_disk=100), 61, 99, "timeout"),
    ],
)
def test_the_limit_that_a_container_exceeds_is_named(
    limits: Limits, seconds: float, free_disk: float, reason: str | None
) -> None:
    assert limits.exceeded(seconds, free_disk) == reason


@dataclass
class ContainerEngine:
    """An engine with a container that prints `chunks`, and ends with `status`."""

    chunks: list[tuple[int, bytes]]
    status: int = 0
    error: Exception | None = None
    events: list[str] = field(default_factory=list)

    def create(self, name: str, document: object, platform: str) -> None:
        self.events.append("create")

    @contextmanager
    def attach(self, name: str) -> Iterator[Iterator[tuple[int, bytes]]]:
        self.events.append("attach")
        try:
            yield self.output()
        finally:
            self.events.append("close")

    def output(self) -> Iterator[tuple[int, bytes]]:
        return iter(self.chunks)

    def start(self, name: str) -> None:
        self.events.append("start")
        if self.error:
            raise self.error

    def wait(self, name: str) -> int:
        return self.status

    def state(self, name: str) -> dict[str, Any]:
        return {"OOMKilled": self.status == 137}

    def kill(self, name: str) -> None:
        self.events.append("kill")

    def remove(self, name: str) -> None:
        self.events.append("remove")


ATTENDED = ["create", "attach", "start", "close", "remove"]


def run(engine: ContainerEngine, task: Task) -> tuple[TaskResult, list[tuple[int, bytes]]]:
    output: list[tuple[int, bytes]] = []
    executor = containers.Containers(cast("Engine", engine))
    with closing(executor):
        result = run_task(executor, "key", task, lambda *chunk: output.append(chunk))
    return result, output


PLAIN = replace(TASK, mounts=())


def test_output_is_passed_on_from_its_beginning_and_nothing_is_left() -> None:
    engine = ContainerEngine([(0, b"out"), (1, b"err")], status=3)
    result, output = run(engine, PLAIN)
    assert result == TaskResult(3)
    assert output == [(0, b"out"), (1, b"err")]
    assert engine.events == ATTENDED


def test_a_result_does_not_wait_for_the_removal_of_the_container_but_the_same_task_does() -> None:
    may_remove = threading.Event()

    class SlowEngine(ContainerEngine):
        def remove(self, name: str) -> None:
            assert may_remove.wait(10)
            super().remove(name)

    engine = SlowEngine([])
    with closing(containers.Containers(cast("Engine", engine))) as executor:
        assert run_task(executor, "key", PLAIN, lambda *_: None) == TaskResult(0)
        assert "remove" not in engine.events
        may_remove.set()
        executor.submit("key", PLAIN)
        executor.cancel("key")
    assert engine.events == [*ATTENDED, *ATTENDED]


def test_standard_output_is_returned_where_it_is_kept() -> None:
    engine = ContainerEngine([(0, b"a\xff"), (1, b"err"), (0, b"b")])
    result, _ = run(engine, replace(PLAIN, keeps_stdout=True))
    assert result.stdout == "a\ufffdb"


def test_a_program_that_the_kernel_killed_for_its_memory_says_so() -> None:
    result, _ = run(ContainerEngine([], status=137), PLAIN)
    assert result == TaskResult(137, out_of_memory=True)


def test_a_container_that_does_not_start_is_an_error_and_removed() -> None:
    engine = ContainerEngine([], error=RequestFailed("no such program", 400))
    with pytest.raises(EngineError, match="the container of `image` failed: no such program"):
        run(engine, PLAIN)
    assert engine.events == ["create", "attach", "start", "close", "remove"]


def test_a_program_beyond_its_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_LOOK_SECONDS", 0.001)

    class EndlessEngine(ContainerEngine):
        def output(self) -> Iterator[tuple[int, bytes]]:
            while "kill" not in self.events:
                time.sleep(0.001)
                yield 0, b"x"

    engine = EndlessEngine([], status=137)
    result, _ = run(engine, replace(PLAIN, limits=Limits(seconds=0.01)))
    assert (result.status, result.stopped) == (TIMED_OUT, "timeout")


def test_areas_exist_before_they_are_mounted(tmp_path: Path) -> None:
    run(ContainerEngine([]), replace(PLAIN, mounts=[Mount(Area(tmp_path / "build"), "/build")]))
    assert (tmp_path / "build").is_dir()
