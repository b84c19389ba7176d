"""Images to a registry and from it, by the engine, with the credentials that `docker login`
left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from envmatrix.console import amount_of
from envmatrix.errors import EngineError
from envmatrix.plan.actions import FINGERPRINT_LABEL, Inputs

if TYPE_CHECKING:
    import docker

ATTEMPTS = 4
_PAUSE_SECONDS = 1.0

# What trying again does not change.
_FINAL = ("denied", "unauthorized", "authentication", "not found", "manifest unknown", "no such")

# Shown while layers move: what is done, bytes done, bytes in all.
OnProgress = Callable[[str, int, int], None]


@dataclass(slots=True)
class _Layers:
    """What the engine says of layers on their way, added up."""

    done: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)

    def feed(self, event: Mapping[str, Any]) -> None:
        layer, detail = event.get("id"), event.get("progressDetail") or {}
        if layer and detail.get("total"):
            self.total[layer] = detail["total"]
            self.done[layer] = detail.get("current", 0)

    def show(self, verb: str, on_progress: OnProgress) -> None:
        done, total = sum(self.done.values()), sum(self.total.values())
        if total:
            text = f"{verb} {amount_of(done, 'bytes')} of {amount_of(total, 'bytes')}"
            on_progress(text, done, total)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves images; what is there already is not moved again, so an attempt goes on where the one
    before it stopped. `sleep` is the pause between attempts, in seconds."""

    client: docker.DockerClient
    sleep: Callable[[float], None] = time.sleep

    def push(self, local: str, repository: str, tag: str, on_progress: OnProgress) -> None:
        """Push the image that the engine calls `local`."""
        self.client.images.get(local).tag(repository, tag)
        try:
            self._persistently(
                f"`{repository}:{tag}` was not pushed",
                "pushing",
                lambda: self.client.api.push(repository, tag, stream=True, decode=True),
                on_progress,
            )
        finally:
            self._forget(f"{repository}:{tag}")

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
        self._persistently(
            f"`{published}` was not pulled",
            "pulling",
            lambda: self.client.api.pull(
                repository, tag=digest, stream=True, decode=True, platform=platform
            ),
            on_progress,
        )
        try:
            yield
        finally:
            self._forget(published)

    def _forget(self, name: str) -> None:
        """Take a name away; the image stays under its others."""
        import docker

        with suppress(docker.errors.APIError):
            self.client.api.remove_image(name)

    def _persistently(
        self,
        failure: str,
        verb: str,
        attempt: Callable[[], Iterable[Mapping[str, Any]]],
        on_progress: OnProgress,
    ) -> None:
        """`attempt` until its events tell of no error, or of one that stays."""
        import docker

        said: list[str] = []
        for number in range(ATTEMPTS):
            if number:
                self.sleep(_PAUSE_SECONDS * 2**number)
            layers = _Layers()
            errors: list[str] = []
            try:
                for event in attempt():
                    errors += [str(event["error"])] if "error" in event else []
                    layers.feed(event)
                    layers.show(verb, on_progress)
            except docker.errors.APIError as error:
                errors.append(str(error.explanation or error))
            if not errors:
                return
            said.append(errors[0])
            if any(word in errors[0].lower() for word in _FINAL):
                break
        raise EngineError(failure, details=said, hint=_hint(said[-1]))


def _hint(said: str) -> str:
    if any(word in said.lower() for word in ("denied", "unauthorized", "authentication")):
        return "log in: `docker login`"
    return "run it again: what has arrived is not moved twice"
