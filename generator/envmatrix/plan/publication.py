"""Names and indexes of published images: what a tag is called, and which images make an index
whole. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from envmatrix.lock.images import ImagesLock, PublishedImage
from envmatrix.plan.actions import DIGITS, FINGERPRINT_LABEL, Inputs
from envmatrix.store.manifests import INDEX, MANIFEST, canonical


def image_tag(inputs: Inputs) -> str:
    """The tag of one architecture, which never names anything else."""
    image = inputs.image
    return f"{image.environment}-{image.flavour}-{image.arch}-{inputs.fingerprint[:DIGITS]}"


def known_as(inputs: Inputs, published: ImagesLock) -> str:
    """What to ask a registry for: a digest where the lock has these inputs, else the tag."""
    image = inputs.image
    found = published.published(image.environment, image.flavour, image.arch)
    if found and found.fingerprint == inputs.fingerprint:
        return found.digest
    return image_tag(inputs)


@dataclass(frozen=True, slots=True)
class Index:
    """A flavour of an environment, whole when each of `images` is published."""

    environment: str
    flavour: str
    images: tuple[Inputs, ...]

    @property
    def fingerprint(self) -> str:
        rows = sorted(f"{its.image.arch} {its.fingerprint}\n" for its in self.images)
        return hashlib.sha256("".join(rows).encode()).hexdigest()

    @property
    def moving_tag(self) -> str:
        """The tag that people type; it is the newest index."""
        return f"{self.environment}-{self.flavour}"

    @property
    def tag(self) -> str:
        """The tag that never names anything else."""
        return f"{self.moving_tag}-{self.fingerprint[:DIGITS]}"


def indexes(wanted: Iterable[Inputs]) -> tuple[Index, ...]:
    groups: dict[tuple[str, str], list[Inputs]] = {}
    for inputs in wanted:
        groups.setdefault((inputs.image.environment, inputs.image.flavour), []).append(inputs)
    return tuple(
        Index(*key, tuple(sorted(group, key=lambda its: its.image.arch)))
        for key, group in sorted(groups.items())
    )


def index_document(
    index: Index, images: Mapping[str, PublishedImage], sizes: Mapping[str, int]
) -> bytes:
    """The index as a registry keeps it, from its images by architecture and the sizes of their
    manifests by digest, in bytes. Equal images make equal bytes."""
    manifests = [
        {
            "mediaType": MANIFEST,
            "digest": image.digest,
            "size": sizes[image.digest],
            "platform": {"architecture": arch, "os": "linux"},
        }
        for arch, image in sorted(images.items())
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": {FINGERPRINT_LABEL: index.fingerprint},
    }
    return canonical(document)
