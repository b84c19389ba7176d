"""Images to a registry and from it, by the engine, with the credentials that `docker login`
left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.console import amount_of
from envmatrix.engine.events import Event, follow
from envmatrix.engine.refusals import refusal
from envmatrix.errors import Absent, EngineError
from envmatrix.plan.actions import FINGERPRINT_LABEL, Inputs
from envmatrix.store import names

if TYPE_CHECKING:
    import docker

ATTEMPTS = 4
_PAUSE_SECONDS = 1.0

# Where nothing arrives for so long, something hangs.
PATIENCE_SECONDS = 60.0

_MOVING = {"Downloading", "Pushing"}
_THERE = {"Already exists", "Download complete", "Extracting", "Pull complete"}
_UNPACKING_SECONDS = 1800.0

# Shown while layers move: what is done, bytes done, bytes in all.
OnProgress = Callable[[str, int, int], None]


@dataclass(slots=True)
class _Layers:
    """What the engine says of layers on their way, added up. `moved` is when more of them was
    there than ever before, in seconds of some clock."""

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
        if (so_far := sum(self.done.values()) + self._finished) > self.most:
            self.most, self.moved = so_far, now

    @property
    def _finished(self) -> int:
        return sum(state not in _MOVING for state in self.state.values())

    @property
    def are_there(self) -> bool:
        """All of what is pulled; the engine unpacks them then, and says nothing."""
        return bool(self.state) and _THERE.issuperset(self.state.values())

    def show(self, verb: str, on_progress: OnProgress) -> None:
        done, total = sum(self.done.values()), sum(self.total.values())
        if total:
            text = f"{verb} {amount_of(done, 'bytes')} of {amount_of(total, 'bytes')}"
            on_progress(text, done, total)


@dataclass(frozen=True, slots=True)
class _Task:
    """What is told of a transfer: of one under way, of one that failed, and, with the remedy, where
    the registry answers that it has no such thing."""

    verb: str
    failure: str
    absence: str
    remedy: str


def unpublished(image: str) -> tuple[str, str]:
    """What to say, and to do, where a registry has an image no more that was published."""
    return (
        f"the registry no longer has `{image}`",
        "build it, and publish it again: `envmatrix build --no-pull`, `envmatrix push`",
    )


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves images; what is there already is not moved again, so an attempt goes on where the one
    before it stopped. `sleep` is the pause between attempts; `patience` how long nothing may move;
    both in seconds, as is what `clock` tells. `cache` has notes of the names that images have on
    their way."""

    client: docker.DockerClient
    cache: Path
    patience: float = PATIENCE_SECONDS
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def push(self, local: str, repository: str, tag: str, on_progress: OnProgress) -> None:
        """Push the image that the engine calls `local`."""
        with self._passing(f"{repository}:{tag}"):
            self.client.images.get(local).tag(repository, tag)
            self._persistently(
                _Task(
                    "pushing",
                    f"`{repository}:{tag}` was not pushed",
                    f"the registry has no repository `{repository}`",
                    "is its name right? some registries want one made before it is pushed to",
                ),
                lambda: self.client.api.push(repository, tag, stream=True, decode=True),
                on_progress,
            )

    def pull(self, published: str, inputs: Inputs, on_progress: OnProgress) -> None:
        """Pull the image `published`, named by digest, and give it its names in the engine.

        It gets them only if it was made of `inputs`: EngineError where its label says otherwise.
        """
        with self.fetched(published, inputs.image.platform, on_progress):
            image = self.client.images.get(published)
            found = image.labels.get(FINGERPRINT_LABEL, "none")
            if found != inputs.fingerprint:
                raise EngineError(
                    f"`{published}` is not `{inputs.image}` as the lock has it",
                    details=[f"its fingerprint is {found}, that of the lock {inputs.fingerprint}"],
                    hint="somebody pushed another image under its name; build it: "
                    "`envmatrix build --no-pull`",
                )
            for name in (inputs.reference, inputs.image.reference):
                image.tag(*name.rsplit(":", 1))

    @contextmanager
    def fetched(self, published: str, platform: str, on_progress: OnProgress) -> Iterator[None]:
        """Have the image `published`, named by digest, in the engine for as long as that lasts."""
        repository, _, digest = published.partition("@")
        with self._passing(published):
            self._persistently(
                _Task("pulling", f"`{published}` was not pulled", *unpublished(published)),
                lambda: self.client.api.pull(
                    repository, tag=digest, stream=True, decode=True, platform=platform
                ),
                on_progress,
            )
            yield

    @contextmanager
    def _passing(self, name: str) -> Iterator[None]:
        """Take `name` away at the end; the image stays under its others. What is killed before that
        leaves a note for `sweep`."""
        with names.noted(self.cache, name):
            try:
                yield
            finally:
                _forget(self.client, name)

    def _persistently(
        self,
        task: _Task,
        attempt: Callable[[], Iterable[Event]],
        on_progress: OnProgress,
    ) -> None:
        """`attempt` until its events tell of no error, or of one that trying again does not
        change."""
        said: list[str] = []
        for number in range(ATTEMPTS):
            if number:
                self.sleep(_PAUSE_SECONDS * 2**number)
            error = self._once(task.verb, attempt, on_progress)
            if error is None:
                return
            said.append(error)
            if refusal(error) in ("absent", "login"):
                break
        details = tuple(dict.fromkeys(said))
        if refusal(said[-1]) == "absent":
            raise Absent(task.absence, details=details, hint=task.remedy)
        raise EngineError(task.failure, details=details, hint=_hint(said[-1]))

    def _once(
        self, verb: str, attempt: Callable[[], Iterable[Event]], on_progress: OnProgress
    ) -> str | None:
        """The first error that the events of one attempt tell of, if any."""
        import docker
        import requests

        layers = _Layers(moved=self.clock())
        errors: list[str] = []
        try:
            with closing(follow(self.client, attempt, lambda: self._patience(layers))) as events:
                for event in events:
                    errors += [str(event["error"])] if "error" in event else []
                    layers.feed(event, now := self.clock())
                    layers.show(verb, on_progress)
                    if now - layers.moved > self._patience(layers):
                        raise TimeoutError
        except docker.errors.APIError as error:
            errors.append(str(error.explanation or error))
        except requests.RequestException as error:
            errors.append(f"the engine went away: {error}")
        except TimeoutError:
            errors.append(f"nothing moved for {self._patience(layers):.0f} s")
        return errors[0] if errors else None

    def _patience(self, layers: _Layers) -> float:
        return _UNPACKING_SECONDS if layers.are_there else self.patience


def sweep(client: docker.DockerClient, cache: Path) -> None:
    """Take away the names that transfers left in the engine that were killed."""
    for name in names.left(cache):
        _forget(client, name)


def _forget(client: docker.DockerClient, name: str) -> None:
    import docker

    with suppress(docker.errors.APIError):
        client.api.remove_image(name)


def _hint(said: str) -> str:
    if refusal(said) == "login":
        return "log in: `docker login`"
    return "run it again: what has arrived is not moved twice"
