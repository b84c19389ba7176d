"""Pulls images that are signed by the configured signer and built from the locked inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.console import Console, Display
from envmatrix.engine import docker_client, image_store
from envmatrix.engine.transfer import Transfer, sweep_names
from envmatrix.images.contents import build_record
from envmatrix.machine.cache import cache_directory
from envmatrix.parallel import run_parallel
from envmatrix.plan.actions import Action
from envmatrix.records import dataclass
from envmatrix.store.image_records import ImageRecords

if TYPE_CHECKING:
    import docker

# Raises where an image, by digest, is not signed as it has to be.
Verify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Puller:
    client: docker.DockerClient
    cache: Path
    records: ImageRecords
    verify: Verify | None
    console: Console

    def pull(self, actions: Sequence[Action], jobs: int) -> None:
        """Pull all; the first failure is raised after running pulls have ended."""
        sweep_names(self.client, self.cache)
        with self.console.display() as display:
            run_parallel(lambda action: self._pull_one(action, display), actions, jobs)

    def _pull_one(self, action: Action, display: Display) -> None:
        name, inputs, published = str(action.inputs.image), action.inputs, str(action.published)
        with image_store.locked(self.cache, inputs.reference, name, self.console):
            before = image_store.digest(self.client, inputs.reference)
            if self.records.has(inputs.fingerprint, before):
                self.console.say(f"reuse    {name}: another process got it meanwhile")
                return
            with display.job(name, "pull", action.reason, "pulled"):
                if self.verify:
                    self.verify(published)
                transfer = Transfer(self.client, self.cache)
                transfer.pull(published, inputs, partial(display.moved, name))
                self.records.keep_contents(inputs.fingerprint, build_record(inputs.contents))
                now = image_store.digest(self.client, inputs.reference)
                self.records.note(inputs.fingerprint, now, is_ours=before is None)


@contextmanager
def local_puller(verify: Verify | None, console: Console) -> Iterator[Puller]:
    """Yield a puller for this machine's engine."""
    with docker_client.connect() as client:
        yield Puller(client, cache_directory(), ImageRecords.of_user(), verify, console)
