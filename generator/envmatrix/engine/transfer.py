"""Push and pull of images by the engine, with the credentials of `docker login`."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.engine.docker_client import Event, follow_events
from envmatrix.errors import Absent, EngineError
from envmatrix.files import write_whole
from envmatrix.machine.cache import exclusive
from envmatrix.machine.error_texts import refusal
from envmatrix.plan.actions import FINGERPRINT_LABEL, Inputs
from envmatrix.records import dataclass
from envmatrix.retries import retry

if TYPE_CHECKING:
    import docker

_FIRST_PAUSE_SECONDS = 2.0
# Refusals that a repetition does not change.
_LASTING = ("absent", "login")
_AGAIN = "run it again: what has arrived is not moved twice"

# The transfer is stalled after this time without progress.
PATIENCE_SECONDS = 60.0

_MOVING = {"Downloading", "Pushing"}
_THERE = {"Already exists", "Download complete", "Extracting", "Pull complete"}
_UNPACKING_SECONDS = 1800.0

# Called while layers move: what is done, bytes done, bytes in all.
OnProgress = Callable[[str, int, int], None]


@dataclass(slots=True)
class _Layers:
    """The summed-up progress of layers. `moved` is the time of the last progress, in seconds of
    some clock."""

    moved: float
    done: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    most: int = 0

    def feed(self, event: Event, now: float) -> None:
        layer, detail = event.get("id"), event.get("progressDetail") or {}
        state = str(event.get("status"))
        if not layer or state.startswith("Pulling from"):  # this one is of the image
            return
        self.state[layer] = state
        if detail.get("total"):
            self.total[layer] = detail["total"]
            self.done[layer] = detail.get("current", 0)
        finished = sum(state not in _MOVING for state in self.state.values())
        if (so_far := sum(self.done.values()) + finished) > self.most:
            self.most, self.moved = so_far, now

    @property
    def are_there(self) -> bool:
        """True once all layers are pulled; the engine then unpacks them without a message."""
        return bool(self.state) and _THERE.issuperset(self.state.values())

    def show(self, verb: str, on_progress: OnProgress) -> None:
        done, total = sum(self.done.values()), sum(self.total.values())
        if total:
            on_progress(f"{verb}ing", done, total)


@dataclass(frozen=True, slots=True)
class _Task:
    """A transfer: its verb, the name of the image, the error where the registry lacks it, and the
    request of the engine."""

    verb: str
    name: str
    absent: Absent
    request: Callable[[], Iterable[Event]]


def absent_image(image: str) -> Absent:
    """Return the error for a published image that the registry no longer has."""
    hint = "build it, and publish it again: `envmatrix build --no-pull`, `envmatrix push`"
    return Absent(f"the registry no longer has `{image}`", hint=hint)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves images; layers that are present are not moved again, so an attempt continues the one
    before it. `sleep` is the pause between attempts; `patience` the limit without progress; both
    and `clock` are in seconds. `cache` has notes of the temporary names of images."""

    client: docker.DockerClient
    cache: Path
    patience: float = PATIENCE_SECONDS
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def push(self, local: str, repository: str, tag: str, on_progress: OnProgress) -> None:
        """Push the image `local` of the engine."""
        hint = "is its name right? some registries want one made before it is pushed to"
        absent = Absent(f"the registry has no repository `{repository}`", hint=hint)
        request = partial(self.client.api.push, repository, tag, stream=True, decode=True)
        with temporary_name(self.client, self.cache, f"{repository}:{tag}") as name:
            self.client.images.get(local).tag(repository, tag)
            self._run(_Task("push", name, absent, request), on_progress)

    def pull(self, published: str, inputs: Inputs, on_progress: OnProgress) -> None:
        """Pull the image `published`, named by digest, and tag it in the engine.

        EngineError where its label says that it was not built from `inputs`.
        """
        with self.temporary_pull(published, inputs.image.platform, on_progress):
            image = self.client.images.get(published)
            fingerprint = image.labels.get(FINGERPRINT_LABEL, "none")
            if fingerprint != inputs.fingerprint:
                of_lock = inputs.fingerprint
                raise EngineError(
                    f"`{published}` is not `{inputs.image}` as the lock has it",
                    details=[f"its fingerprint is {fingerprint}, that of the lock {of_lock}"],
                    hint="somebody pushed another image under its name; build it: "
                    "`envmatrix build --no-pull`",
                )
            for name in (inputs.reference, inputs.image.reference):
                image.tag(*name.rsplit(":", 1))

    @contextmanager
    def temporary_pull(
        self, published: str, platform: str, on_progress: OnProgress
    ) -> Iterator[None]:
        """Keep the image `published`, named by digest, in the engine during the block."""
        repository, _, digest = published.partition("@")
        pull = self.client.api.pull
        request = partial(pull, repository, tag=digest, stream=True, decode=True, platform=platform)
        with temporary_name(self.client, self.cache, published):
            self._run(_Task("pull", published, absent_image(published), request), on_progress)
            yield

    def _run(self, task: _Task, on_progress: OnProgress) -> None:
        """Carry out `task`, repeated on errors that a repetition may change."""
        errors: list[str] = []

        def least_pause(error: Exception) -> float | None:
            errors.append(str(error))
            is_lasting = not isinstance(error, EngineError) or refusal(str(error)) in _LASTING
            return None if is_lasting else 0

        attempt = partial(self._attempt, task, on_progress)
        try:
            retry(attempt, least_pause, self.sleep, _FIRST_PAUSE_SECONDS)
        except EngineError as error:
            details, reason = [*dict.fromkeys([*errors, error.message])], refusal(error.message)
            if reason == "absent":
                raise Absent(task.absent.message, details=details, hint=task.absent.hint) from error
            hint = "log in: `docker login`" if reason == "login" else _AGAIN
            message = f"`{task.name}` was not {task.verb}ed"
            raise EngineError(message, details=details, hint=hint) from error

    def _attempt(self, task: _Task, on_progress: OnProgress) -> None:
        """Carry out `task` once; EngineError with its first error."""
        layers = _Layers(moved=self.clock())
        events = follow_events(self.client, task.request, lambda: self._patience(layers))
        try:
            with closing(events):
                for event in events:
                    if "error" in event:
                        raise EngineError(str(event["error"]))
                    layers.feed(event, now := self.clock())
                    layers.show(task.verb, on_progress)
                    if now - layers.moved > self._patience(layers):
                        raise TimeoutError
        except TimeoutError as error:
            raise EngineError(f"nothing moved for {self._patience(layers):.0f} s") from error

    def _patience(self, layers: _Layers) -> float:
        return _UNPACKING_SECONDS if layers.are_there else self.patience


@contextmanager
def temporary_name(client: docker.DockerClient, cache: Path, name: str) -> Iterator[str]:
    """Yield the tag `name`, and remove it at the end; the image keeps its others. A process that is
    killed leaves a note for `sweep_names`."""
    note = _directory(cache) / hashlib.sha256(name.encode()).hexdigest()
    with exclusive(_lock(cache, note)):
        write_whole(note, name.encode())
        try:
            yield name
        finally:
            _forget(client, name)
            note.unlink(missing_ok=True)


def sweep_names(client: docker.DockerClient, cache: Path) -> None:
    """Remove the temporary names that killed transfers left in the engine, and their records."""
    for note in sorted(_directory(cache).glob("*")):
        with suppress(BlockingIOError), exclusive(_lock(cache, note), _busy):
            if note.is_file():
                _forget(client, note.read_text(encoding="utf-8"))
            note.unlink(missing_ok=True)


def _directory(cache: Path) -> Path:
    """Return the directory of the engine in use: several may share a cache."""
    engine = os.environ.get("DOCKER_HOST", "")
    return cache / "names" / hashlib.sha256(engine.encode()).hexdigest()[:24]


def _lock(cache: Path, note: Path) -> Path:
    return cache / "locks" / f"name-{note.name}"


def _busy() -> None:
    raise BlockingIOError


def _forget(client: docker.DockerClient, name: str) -> None:
    import docker

    with suppress(docker.errors.APIError):
        client.api.remove_image(name)
