"""Publishes images: pushes those that the registry lacks, and the index of a flavour once all of
its images are there, from whatever machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.console import Console, Display
from envmatrix.engine import image_store
from envmatrix.engine.transfer import Transfer, sweep_names
from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.images_lock import PublishedImage, PublishedIndex
from envmatrix.parallel import run_parallel
from envmatrix.plan.actions import FINGERPRINT_LABEL, Existing, Inputs
from envmatrix.plan.publication import Index, image_tag, index_document
from envmatrix.records import dataclass
from envmatrix.registry.client import Registry
from envmatrix.registry.manifests import INDEX, Manifest
from envmatrix.store.image_records import ImageRecords

if TYPE_CHECKING:
    import docker

_FOREIGN = "somebody pushed another image under its name; remove it from the registry"

# Publishes what goes with an index: its images' manifests by architecture, and its own.
PublishDocuments = Callable[[Index, Mapping[str, Manifest], Manifest], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """Images that the registry has, images to push, and images that neither the registry nor the
    engine has."""

    published: tuple[Inputs, ...]
    to_push: tuple[Inputs, ...]
    missing: tuple[Inputs, ...]


@dataclass(frozen=True, slots=True)
class Publisher:
    client: docker.DockerClient
    registry: Registry
    cache: Path
    publish_documents: PublishDocuments
    console: Console

    def survey(self, indexes: Sequence[Index]) -> Survey:
        inputs = [item for index in indexes for item in index.images]
        tags = self.registry.digests([image_tag(item) for item in inputs])
        unpublished = [item for item in inputs if image_tag(item) not in tags]
        images = image_store.local_images([item.reference for item in unpublished])
        existing = Existing(images, ImageRecords(self.cache).has)
        is_local = {item: existing.has(item.reference, item.fingerprint) for item in unpublished}
        return Survey(
            published=tuple(item for item in inputs if item not in is_local),
            to_push=tuple(item for item in unpublished if is_local[item]),
            missing=tuple(item for item in unpublished if not is_local[item]),
        )

    def publish(
        self, indexes: Sequence[Index], survey: Survey, jobs: int
    ) -> Mapping[Index, PublishedIndex]:
        """Push `survey.to_push`; publish and return the indexes whose images are all published.

        Images are pushed one by one: the engine sends layers of one in parallel, and skips those
        that an earlier image has.
        """
        sweep_names(self.client, self.cache)
        with self.console.display() as display:
            for inputs in survey.to_push:
                self._push(inputs, display)
        missing = {*survey.missing}
        complete = [index for index in indexes if missing.isdisjoint(index.images)]
        published = run_parallel(self._publish_index, complete, jobs)
        return dict(zip(complete, published, strict=True))

    def _push(self, inputs: Inputs, display: Display) -> None:
        """Push, unless somebody did meanwhile: a tag with a fingerprint never moves."""
        name, repository, tag = str(inputs.image), self.registry.repository, image_tag(inputs)
        with image_store.locked(self.cache, f"{repository}:{tag}", name, self.console):
            if self.registry.digest(tag):
                self.console.say(f"reuse    {name}: another process pushed it meanwhile")
                return
            with display.job(name, "push", repository, "pushed"):
                transfer = Transfer(self.client, self.cache)
                transfer.push(inputs.reference, repository, tag, partial(display.moved, name))

    def _publish_index(self, index: Index) -> PublishedIndex:
        """Put the index under both its tags; the one with its fingerprint never moves."""
        published = self.registry.manifest(index.tag)
        parts = {item.image.arch: self._part(item, published) for item in index.images}
        by_arch = {arch: image for arch, (image, _) in parts.items()}
        if published is None:
            sizes = {image.digest: len(manifest.content) for image, manifest in parts.values()}
            published = Manifest(INDEX, index_document(index, by_arch, sizes))
            self.registry.put_manifest(index.tag, published)
            self.console.say(f"publish  {index.tag}: {', '.join(by_arch)}")
        manifests = {arch: manifest for arch, (_, manifest) in parts.items()}
        self.publish_documents(index, manifests, published)
        if self.registry.digest(index.moving_tag) != published.digest:
            self.registry.put_manifest(index.moving_tag, published)
        return PublishedIndex(
            self.registry.repository, published.digest, index.fingerprint, by_arch
        )

    def _part(self, inputs: Inputs, published: Manifest | None) -> tuple[PublishedImage, Manifest]:
        """Return one image of an index: the one in `published`, else the one of its own tag."""
        if published is None:
            return published_image(self.registry, inputs, image_tag(inputs))
        digest = published.by_architecture().get(inputs.image.arch)
        if digest is None:
            index = f"{self.registry.repository}@{published.digest}"
            raise LookupFailed(f"`{index}` lacks `{inputs.image}`", hint=_FOREIGN)
        return published_image(self.registry, inputs, digest)


def published_image(
    registry: Registry, inputs: Inputs, reference: str
) -> tuple[PublishedImage, Manifest]:
    """Return the image of a tag or digest; LookupFailed where it was not built from `inputs`."""
    manifest = registry.manifest(reference)
    if manifest is None:
        raise Absent(f"`{registry.repository}` lost `{reference}`", hint="push it again")
    digest = manifest.read(lambda document: str(document["config"]["digest"]))
    config = Manifest("", registry.blob(digest))
    labels = config.read(lambda document: document.get("config", {}).get("Labels") or {})
    fingerprint = labels.get(FINGERPRINT_LABEL, "none")
    if fingerprint != inputs.fingerprint:
        raise LookupFailed(
            f"`{registry.repository}:{reference}` is not `{inputs.image}` as the lock has it",
            details=[f"its fingerprint is {fingerprint}, that of the lock {inputs.fingerprint}"],
            hint=_FOREIGN,
        )
    diff_ids = config.read(lambda document: tuple(document["rootfs"]["diff_ids"]))
    return PublishedImage(manifest.digest, inputs.fingerprint, diff_ids), manifest
