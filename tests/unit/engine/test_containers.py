from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, cast

import docker
import pytest
from tests.fakes import Client

from envmatrix.engine.containers import _OWNER, _owner, sweep

# The kernel may give a signal for a process to any thread of it.
PROGRAM = """
import select, signal, threading
from envmatrix.engine.containers import ContainerSpec, _watched

signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    with _watched(None, ContainerSpec("image", "linux/amd64", [], [])):
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
class Left(Client):
    """An engine with one container, which is of the process that its label names."""

    owner: str
    removed: list[str] = field(default_factory=list)

    @property
    def containers(self) -> Left:
        return self

    @property
    def labels(self) -> dict[str, str]:
        return {_OWNER: self.owner}

    def list(self, **_: Any) -> list[Left]:
        return [self]

    def remove(self, *, force: bool) -> None:
        assert force
        self.removed.append(self.owner)


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
)
def test_only_containers_of_processes_that_can_be_seen_are_swept(
    owner: str, is_swept: bool
) -> None:
    engine = Left(owner)
    assert sweep(cast("docker.DockerClient", engine)) == is_swept
    assert bool(engine.removed) == is_swept
