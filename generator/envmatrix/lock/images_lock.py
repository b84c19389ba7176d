"""The lock of published images: the digest of each flavour of each environment in the registry.
Consumers of images read it instead of formatting tags.

`dumps` is canonical: equal locks are equal bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from envmatrix.files import text_of, write_whole
from envmatrix.lock import strict
from envmatrix.lock.files import IMAGES_LOCK
from envmatrix.lock.strict import Invalid
from envmatrix.records import dataclass

FILE = IMAGES_LOCK
VERSION = 1

_HINT = f"restore it from version control; or remove it (`rm {FILE}`) and run `envmatrix push`"

_digest = strict.matching(re.compile(r"sha256:[0-9a-f]{64}"))
_fingerprint = strict.matching(re.compile(r"[0-9a-f]{64}"))
_platform = strict.matching(re.compile(r"linux/[a-z0-9]+"))
_repository = strict.matching(re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+"))


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """One architecture of a flavour: its manifest's digest, its inputs, its layers."""

    digest: str
    fingerprint: str
    diff_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedIndex:
    """A flavour of an environment: the digest of its multi-arch index; `images` by Docker's name of
    the architecture."""

    repository: str
    digest: str
    fingerprint: str
    images: Mapping[str, PublishedImage]

    @property
    def reference(self) -> str:
        """The reference to pull; the engine selects its own architecture."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class ImagesLock:
    """The published indexes by environment and flavour."""

    indexes: Mapping[tuple[str, str], PublishedIndex] = field(default_factory=dict)

    def find(self, environment: str, flavour: str) -> PublishedIndex | None:
        return self.indexes.get((environment, flavour))

    def find_image(self, environment: str, flavour: str, arch: str) -> PublishedImage | None:
        index = self.find(environment, flavour)
        return index.images.get(arch) if index else None

    def with_published(
        self, published: Mapping[tuple[str, str], PublishedIndex], environments: Collection[str]
    ) -> ImagesLock:
        """Return the lock with the newly `published` indexes, and only these `environments`."""
        indexes = {**self.indexes, **published}
        return ImagesLock({key: index for key, index in indexes.items() if key[0] in environments})

    def __iter__(self) -> Iterator[tuple[str, str, PublishedIndex]]:
        """Yield each environment, flavour and index."""
        for (environment, flavour), index in self.indexes.items():
            yield environment, flavour, index


def dumps(lock: ImagesLock) -> str:
    rows: dict[str, dict[str, object]] = {}
    for environment, flavour, index in sorted(lock, key=lambda row: row[:2]):
        rows.setdefault(environment, {})[flavour] = {
            "image": index.reference,
            "fingerprint": index.fingerprint,
            "platforms": {
                f"linux/{arch}": {
                    "digest": image.digest,
                    "fingerprint": image.fingerprint,
                    "diff_ids": list(image.diff_ids),
                }
                for arch, image in sorted(index.images.items())
            },
        }
    return json.dumps({"version": VERSION, "environments": rows}, indent=2) + "\n"


def load(root: Path) -> ImagesLock:
    """Return the lock beside `matrix.yaml`; an empty one if nothing was ever published."""
    try:
        return loads(text_of(root / FILE, FILE))
    except FileNotFoundError:
        return ImagesLock()


def save(lock: ImagesLock, root: Path) -> None:
    """Write the lock atomically."""
    write_whole(root / FILE, dumps(lock).encode())


def _read(document: object) -> ImagesLock:
    strict.only(document, ("version", "environments"))
    environments = strict.field(document, "environments", _environments)
    return ImagesLock(
        {
            (environment, flavour): index
            for environment, flavours in environments.items()
            for flavour, index in flavours.items()
        }
    )


def _environments(value: object) -> dict[str, dict[str, PublishedIndex]]:
    return strict.entries(value, lambda flavours: strict.entries(flavours, _index))


def _index(row: object) -> PublishedIndex:
    strict.only(row, ("image", "fingerprint", "platforms"))
    repository, digest = strict.field(row, "image", _reference)
    return PublishedIndex(
        repository,
        digest,
        strict.field(row, "fingerprint", _fingerprint),
        strict.field(row, "platforms", _platforms),
    )


def _reference(value: object) -> tuple[str, str]:
    repository, _, digest = strict.string(value).partition("@")
    return _repository(repository), _digest(digest)


def _platforms(value: object) -> dict[str, PublishedImage]:
    images = strict.entries(value, _image)
    if not images:
        raise Invalid("must not be empty")
    return {_platform(name).removeprefix("linux/"): image for name, image in images.items()}


def _image(row: object) -> PublishedImage:
    strict.only(row, ("digest", "fingerprint", "diff_ids"))
    return PublishedImage(
        strict.field(row, "digest", _digest),
        strict.field(row, "fingerprint", _fingerprint),
        tuple(strict.field(row, "diff_ids", _digests)),
    )


def _digests(value: object) -> list[str]:
    return strict.items(value, _digest)


# Raises ConfigurationError if the text is not such a lock, OutOfDate for another version.
loads = strict.FileFormat(FILE, "a lock of images", _HINT, {VERSION: _read}).loads
