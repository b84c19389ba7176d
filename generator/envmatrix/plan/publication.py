"""Tags and indexes of published images. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import groupby

from envmatrix.lock.images_lock import ImagesLock, PublishedImage
from envmatrix.plan.actions import DIGITS, FINGERPRINT_LABEL, Inputs
from envmatrix.records import dataclass
from envmatrix.registry.manifests import INDEX, MANIFEST, canonical


def image_tag(inputs: Inputs) -> str:
    """Return the immutable tag of an image of one architecture."""
    image = inputs.image
    return f"{image.environment}-{image.name}-{image.arch}-{inputs.fingerprint[:DIGITS]}"


def registry_reference(inputs: Inputs, published: ImagesLock) -> str:
    """Return the reference within a repository: a digest if the lock has these inputs, else the
    tag."""
    image = inputs.image
    entry = published.find_image(image.environment, image.name, image.arch)
    if entry and entry.fingerprint == inputs.fingerprint:
        return entry.digest
    return image_tag(inputs)


@dataclass(frozen=True, slots=True)
class Index:
    """An image index of a flavour of an environment, or of a library over one, complete when all
    `images` are published."""

    environment: str
    flavour: str
    images: tuple[Inputs, ...]

    @property
    def fingerprint(self) -> str:
        rows = sorted(f"{inputs.image.arch} {inputs.fingerprint}\n" for inputs in self.images)
        return hashlib.sha256("".join(rows).encode()).hexdigest()

    @property
    def moving_tag(self) -> str:
        """The tag without a fingerprint, which moves to the newest index."""
        return f"{self.environment}-{self.flavour}"

    @property
    def tag(self) -> str:
        """The immutable tag."""
        return f"{self.moving_tag}-{self.fingerprint[:DIGITS]}"


def _names(inputs: Inputs) -> tuple[str, str]:
    return inputs.image.environment, inputs.image.name


def indexes_of(images: Iterable[Inputs]) -> tuple[Index, ...]:
    ordered = sorted(images, key=lambda inputs: (*_names(inputs), inputs.image.arch))
    groups = groupby(ordered, key=_names)
    return tuple(Index(*key, tuple(group)) for key, group in groups)


def index_document(
    index: Index, images: Mapping[str, PublishedImage], sizes: Mapping[str, int]
) -> bytes:
    """Return the JSON of an index from its images by architecture and the sizes of their manifests
    (bytes) by digest. The result is deterministic."""
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
