from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from tests.fakes import Client

from envmatrix.engine import docker_client
from envmatrix.engine.transfer import (
    PATIENCE_SECONDS,
    Transfer,
    sweep_names,
    temporary_name,
)
from envmatrix.errors import Absent, EngineError
from envmatrix.images.contents import BuildContents
from envmatrix.images.model import Image
from envmatrix.plan.actions import FINGERPRINT_LABEL, Inputs
from envmatrix.retries import ATTEMPTS

INPUTS = Inputs(Image("cuda13.0-debian12", "runtime", "amd64"), "ab" * 32, BuildContents(1, {}))
DIGEST = f"registry.example/team/images@sha256:{'12' * 32}"

Events = list[Mapping[str, Any]]


def layer(status: str, current: int = 0, name: str = "a") -> Mapping[str, Any]:
    return {"id": name, "status": status, "progressDetail": {"current": current, "total": 10}}


@dataclass
class TransferEngine(Client):
    """An engine whose requests have the events of `attempts`, one attempt after the other.

    Each event has a time of its own; seconds on its clock are those that it waits."""

    attempts: list[Events]
    label: str = INPUTS.fingerprint
    seconds_between: float = 1.0
    now: float = 0.0
    names: set[str] = field(default_factory=set)
    requests: int = 0

    @property
    def labels(self) -> Mapping[str, str]:
        return {FINGERPRINT_LABEL: self.label}

    def get(self, _: str) -> TransferEngine:
        return self

    def tag(self, repository: str, tag: str) -> None:
        self.names.add(f"{repository}:{tag}")

    def remove_image(self, name: str) -> None:
        self.names.discard(name)

    def push(self, *_: str, **__: object) -> Iterator[Mapping[str, Any]]:
        return self.pull()

    def pull(self, *_: str, **__: object) -> Iterator[Mapping[str, Any]]:
        self.requests += 1
        yield from self.attempts[min(self.requests, len(self.attempts)) - 1]

    def clock(self) -> float:
        self.now += self.seconds_between
        return self.now


@pytest.fixture
def transfer(tmp_path: Path) -> Callable[..., Transfer]:
    def of(engine: TransferEngine, pauses: list[float] | None = None) -> Transfer:
        sleep = (pauses if pauses is not None else []).append
        client = cast("docker.DockerClient", engine)
        return Transfer(client, tmp_path, PATIENCE_SECONDS, sleep, engine.clock)

    return of


def test_what_is_pulled_gets_both_names_and_no_other(transfer: Callable[..., Transfer]) -> None:
    engine = TransferEngine([[layer("Downloading", 5), layer("Pull complete")]])

    transfer(engine).pull(DIGEST, INPUTS, lambda *_: None)

    assert engine.names == {INPUTS.reference, INPUTS.image.reference}


def test_what_is_of_other_inputs_gets_no_name(transfer: Callable[..., Transfer]) -> None:
    engine = TransferEngine([[layer("Pull complete")]], label="cd" * 32)

    with pytest.raises(EngineError, match="as the lock has it") as caught:
        transfer(engine).pull(DIGEST, INPUTS, lambda *_: None)

    assert engine.names == set()
    assert "cd" * 32 in caught.value.details[0]


def test_progress_is_the_sum_of_layers(transfer: Callable[..., Transfer]) -> None:
    engine = TransferEngine([[layer("Pushing", 5), layer("Pushing", 10, "b"), layer("Pushed", 10)]])
    steps: list[tuple[int, int]] = []

    transfer(engine).push("local", "registry.example/x", "t", lambda _, *step: steps.append(step))

    assert steps == [(5, 10), (15, 20), (20, 20)]
    assert engine.names == set()


def test_an_error_is_tried_again_after_pauses_that_grow(transfer: Callable[..., Transfer]) -> None:
    engine = TransferEngine([[{"error": "500"}], [{"error": "EOF"}], [layer("Pushed")]])
    pauses: list[float] = []

    transfer(engine, pauses).push("local", "registry.example/x", "t", lambda *_: None)

    assert engine.requests == 3
    assert pauses == sorted(set(pauses))
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("message", "attempts", "hint"),
    [
        ("500 Internal Server Error", ATTEMPTS, "not moved twice"),
        ("denied: requested access", 1, "docker login"),
        ("401 Unauthorized", 1, "docker login"),
        ("dial tcp: lookup registry.example: no such host", ATTEMPTS, "not moved twice"),
    ],
)
def test_what_stays_wrong_is_told_once(
    message: str, attempts: int, hint: str, transfer: Callable[..., Transfer]
) -> None:
    engine = TransferEngine([[{"error": message}]])

    with pytest.raises(EngineError) as caught:
        transfer(engine).push("local", "registry.example/x", "t", lambda *_: None)

    assert (engine.requests, caught.value.details) == (attempts, (message,))
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    "message",
    [
        f"manifest for {DIGEST} not found: manifest unknown: manifest unknown",
        f'failed to resolve reference "{DIGEST}": {DIGEST}: not found',
        "unexpected status from HEAD request: 404 Not Found",
    ],
)
def test_an_image_that_the_registry_has_no_more_is_told_with_the_remedy(
    message: str, transfer: Callable[..., Transfer]
) -> None:
    engine = TransferEngine([[{"error": message}]])

    with pytest.raises(Absent, match=f"the registry no longer has `{DIGEST}`") as caught:
        transfer(engine).pull(DIGEST, INPUTS, lambda *_: None)

    assert (engine.requests, caught.value.details) == (1, (message,))
    assert "`envmatrix push`" in str(caught.value.hint)


def test_a_repository_that_is_not_there_is_told(transfer: Callable[..., Transfer]) -> None:
    engine = TransferEngine([[{"error": "name unknown: repository name not known to registry"}]])

    with pytest.raises(Absent, match=r"has no repository `registry\.example/x`"):
        transfer(engine).push("local", "registry.example/x", "t", lambda *_: None)

    assert engine.requests == 1


def test_a_layer_that_does_not_move_is_given_up(transfer: Callable[..., Transfer]) -> None:
    stuck = [layer("Pushing", 5)] * 3
    engine = TransferEngine([stuck, [layer("Pushed")]], seconds_between=PATIENCE_SECONDS)

    transfer(engine).push("local", "registry.example/x", "t", lambda *_: None)

    assert engine.requests == 2


def test_a_layer_that_begins_again_and_again_does_not_move(
    transfer: Callable[..., Transfer],
) -> None:
    circle = [layer("Downloading", count) for count in (5, 2, 5, 2, 5, 2)]
    engine = TransferEngine([circle], seconds_between=PATIENCE_SECONDS / 2)

    with pytest.raises(EngineError) as caught:
        transfer(engine).pull(DIGEST, INPUTS, lambda *_: None)

    assert caught.value.details == ("nothing moved for 60 s",)


def test_layers_that_are_there_may_be_unpacked_for_long(transfer: Callable[..., Transfer]) -> None:
    image = {"id": "sha256:12", "status": "Pulling from team/images"}
    unpacking = [image, layer("Download complete"), *[layer("Download complete")] * 5]
    engine = TransferEngine([unpacking], seconds_between=PATIENCE_SECONDS * 0.9)

    transfer(engine).pull(DIGEST, INPUTS, lambda *_: None)

    assert engine.requests == 1


def test_an_engine_that_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine, released = TransferEngine([]), threading.Event()

    def silent(*_: str, **__: object) -> Iterator[Mapping[str, Any]]:
        engine.requests += 1
        released.wait()
        yield from ()

    monkeypatch.setattr(engine, "push", silent)
    monkeypatch.setattr(docker_client, "_PARTING_SECONDS", 0.01)
    client = cast("docker.DockerClient", engine)
    impatient = Transfer(client, tmp_path, 0.01, lambda _: None, engine.clock)

    with pytest.raises(EngineError, match="not pushed"):
        impatient.push("local", "registry.example/x", "t", lambda *_: None)

    released.set()
    assert engine.requests == ATTEMPTS


KILLED = 9


def in_a_process_that_is_killed(action: Callable[[], object]) -> None:
    """Run `action` in a process that it ends; nothing else of this test goes on there."""
    pid = os.fork()
    if not pid:
        try:
            action()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED


def test_a_name_that_a_killed_process_left_is_taken_away_by_the_next(
    transfer: Callable[..., Transfer], tmp_path: Path
) -> None:
    engine = TransferEngine([[]])
    name = "registry.example/x:t"

    def push(*_: str, **__: object) -> Iterator[Mapping[str, Any]]:
        os._exit(KILLED)

    engine.push = push  # type: ignore[method-assign]
    in_a_process_that_is_killed(
        lambda: transfer(engine).push("local", "registry.example/x", "t", lambda *_: None)
    )

    engine.names = {name, "registry.example/x:of-others"}
    sweep_names(cast("docker.DockerClient", engine), tmp_path)

    assert engine.names == {"registry.example/x:of-others"}


def test_a_name_that_is_still_moved_stays(tmp_path: Path) -> None:
    engine = TransferEngine([], names={"registry.example/x:t"})
    client = cast("docker.DockerClient", engine)

    with temporary_name(client, tmp_path, "registry.example/x:t"):
        sweep_names(client, tmp_path)
        assert engine.names == {"registry.example/x:t"}

    assert engine.names == set()


def test_names_in_another_engine_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note() -> None:
        client = cast("docker.DockerClient", TransferEngine([]))
        with temporary_name(client, tmp_path, "registry.example/x:t"):
            os._exit(KILLED)

    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    in_a_process_that_is_killed(note)

    def names_after_a_sweep() -> set[str]:
        engine = TransferEngine([], names={"registry.example/x:t"})
        sweep_names(cast("docker.DockerClient", engine), tmp_path)
        return engine.names

    monkeypatch.delenv("DOCKER_HOST")
    assert names_after_a_sweep()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert not names_after_a_sweep()
    assert names_after_a_sweep()
