"""Pulls images that are signed by the configured signer and built from the locked inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.console import Console, Display
from envmatrix.engine import image_store
from envmatrix.engine.transfer import Transfer, sweep_names
from envmatrix.errors import EnvmatrixError
from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.plan.actions import Action
from envmatrix.store.built_images import Recipes
from envmatrix.store.image_ids import Made

if TYPE_CHECKING:
    import docker

# Raises where an image, by digest, is not signed as it has to be.
Verify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Puller:
    client: docker.DockerClient
    cache: Path
    recipes: Recipes
    records: Made
    verify: Verify | None
    console: Console

    def pull(self, actions: Sequence[Action], jobs: int) -> None:
        """Pull all; the first failure is raised after running pulls have ended."""
        sweep_names(self.client, self.cache)
        with ThreadPoolExecutor(jobs) as pool, self.console.display() as display:
            futures = [pool.submit(self._pull_one, action, display) for action in actions]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def _pull_one(self, action: Action, display: Display) -> None:
        name, inputs, published = str(action.image), action.inputs, str(action.published)
        with exclusive(image_store.lock_of(self.cache, inputs.reference), self._waiting(name)):
            before = image_store.digest(self.client, inputs.reference)
            if self.records.has(inputs.fingerprint, before):
                self.console.say(f"reuse    {name}: another process got it meanwhile")
                return
            display.started(name, "pull", action.reason)
            try:
                if self.verify:
                    self.verify(published)
                Transfer(self.client, self.cache).pull(
                    published, inputs, lambda text, *counts: display.step(name, text, *counts)
                )
            except EnvmatrixError:
                display.finished(name, "failed")
                raise
            now = image_store.digest(self.client, inputs.reference)
            self.records.note(inputs.fingerprint, now, is_ours=before is None)
            self.recipes.keep(inputs.fingerprint, inputs.dockerfile)
            display.finished(name, "pulled")

    def _waiting(self, name: str) -> Callable[[], None]:
        return lambda: self.console.say(f"waiting  {name}: another process is at it")


@contextmanager
def local_puller(verify: Verify | None, console: Console) -> Iterator[Puller]:
    """Yield a puller for this machine's engine."""
    with image_store.engine() as client:
        yield Puller(client, cache_directory(), Recipes.of_user(), Made.of_user(), verify, console)
