"""What jobs have stored in shared places, to remove what is old: outputs in a directory, outputs
and results of tasks in a repository of a registry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from envmatrix.errors import LookupFailed
from envmatrix.executors.agent import CREATED, TIME
from envmatrix.executors.outputs import SUFFIX, outputs_file, status_of
from envmatrix.parallel import run_parallel
from envmatrix.records import dataclass
from envmatrix.registry.client import Registry
from envmatrix.registry.manifests import Manifest

_REQUESTS_AT_ONCE = 8
# Of tags, by a thousand: each task has one.
_PAGES = 10_000
_MOST_BYTES = 1 << 50
_FILE = re.compile(rf"([0-9a-f]{{64}}){re.escape(SUFFIX)}")


@dataclass(frozen=True, slots=True)
class StoredThing:
    """A thing that a job has stored: the sha256 (hex) of outputs or the key of a result, its `size`
    in bytes, and when it was stored, in seconds of the epoch."""

    name: str
    size: int
    stored: float


class Storage(Protocol):
    """A place where jobs store things of one kind."""

    def things(self) -> Sequence[StoredThing]:
        """Return what is there."""

    def remove(self, name: str) -> None:
        """Remove a thing, unless it is gone; raise OSError if it stays."""


@dataclass(frozen=True, slots=True)
class DirectoryStorage:
    """Outputs in a directory, which may have files of others."""

    directory: Path

    def things(self) -> Sequence[StoredThing]:
        if not self.directory.is_dir():
            return ()
        matches = (_FILE.fullmatch(file.name) for file in self.directory.iterdir())
        names = sorted(match[1] for match in matches if match)
        rows = ((name, status_of(outputs_file(self.directory, name))) for name in names)
        return [StoredThing(name, row.st_size, row.st_mtime) for name, row in rows if row]

    def remove(self, name: str) -> None:
        file = outputs_file(self.directory, name)
        if status_of(file):  # nobody has replaced it by something else
            file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RegistryStorage:
    """Artifacts of a repository whose tags have a prefix."""

    registry: Registry
    prefix: str

    def things(self) -> Sequence[StoredThing]:
        tags = self.registry.tags(_PAGES)
        if tags is None:
            raise LookupFailed(f"`{self.registry.repository}` does not list all its tags")
        own = sorted(tag for tag in tags if tag.startswith(self.prefix))
        things = run_parallel(self._thing, own, _REQUESTS_AT_ONCE)
        return [thing for thing in things if thing]

    def _thing(self, tag: str) -> StoredThing | None:
        manifest = self.registry.manifest(tag)
        if manifest is None:  # somebody has removed it
            return None
        size, stored = size_and_time(manifest)
        return StoredThing(tag.removeprefix(self.prefix), size, stored)

    def remove(self, name: str) -> None:
        if digest := self.registry.digest(f"{self.prefix}{name}"):
            self.registry.delete_manifest(digest)


def size_and_time(manifest: Manifest) -> tuple[int, float]:
    """Return how many bytes an artifact has, and when it was made, in seconds of the epoch;
    LookupFailed where it does not tell."""
    return manifest.read(_size_and_time)


def _size_and_time(document: Any) -> tuple[int, float]:
    sizes = [layer["size"] for layer in document["layers"]]
    if not all(type(size) is int and 0 <= size < _MOST_BYTES for size in sizes):
        raise ValueError("no sizes of layers")
    created = datetime.strptime(document["annotations"][CREATED], TIME)
    return sum(sizes), created.replace(tzinfo=UTC).timestamp()
