"""Publishes images: those that the registry lacks are pushed, and where all of a flavour are there,
from whatever machines, their index is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.console import Console, Display
from envmatrix.engine import images
from envmatrix.engine.transfer import Transfer, sweep
from envmatrix.errors import Absent, EnvmatrixError, LookupFailed
from envmatrix.lock.images import PublishedImage, PublishedIndex
from envmatrix.plan.actions import FINGERPRINT_LABEL, Existing, Inputs
from envmatrix.plan.publication import Index, image_tag, index_document
from envmatrix.store.artifacts import exclusive
from envmatrix.store.made import Made
from envmatrix.store.manifests import INDEX, Manifest
from envmatrix.store.registry import Registry

if TYPE_CHECKING:
    import docker

_FOREIGN = "somebody pushed another image under its name; remove it from the registry"

# Publishes what goes with an index: its images' manifests by architecture, and its own.
Accompany = Callable[[Index, Mapping[str, Manifest], Manifest], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """Which images the registry has, which are to be pushed, and which are neither there nor
    here."""

    there: tuple[Inputs, ...]
    to_push: tuple[Inputs, ...]
    lacking: tuple[Inputs, ...]


@dataclass(frozen=True, slots=True)
class Publisher:
    client: docker.DockerClient
    registry: Registry
    cache: Path
    made: Made
    accompany: Accompany
    console: Console

    def survey(self, wanted: Sequence[Index]) -> Survey:
        inputs = [its for index in wanted for its in index.images]
        tags = self.registry.digests([image_tag(its) for its in inputs])
        missing = [its for its in inputs if image_tag(its) not in tags]
        existing = Existing(images.there([its.reference for its in missing]), self.made.has)
        is_here = {its: existing.has(its) for its in missing}
        return Survey(
            there=tuple(its for its in inputs if its not in is_here),
            to_push=tuple(its for its in missing if is_here[its]),
            lacking=tuple(its for its in missing if not is_here[its]),
        )

    def publish(
        self, wanted: Sequence[Index], survey: Survey, jobs: int
    ) -> Mapping[Index, PublishedIndex]:
        """Push what is to be pushed; the indexes that are whole then.

        One image after the other: the engine sends its layers side by side, and finds those of the
        images before it there.
        """
        sweep(self.client, self.cache)
        with self.console.display() as display:
            for inputs in survey.to_push:
                self._push(inputs, display)
        lacking = {its.reference for its in survey.lacking}
        whole = [i for i in wanted if not lacking & {its.reference for its in i.images}]
        with ThreadPoolExecutor(jobs) as pool:
            return dict(zip(whole, pool.map(self._publish_index, whole), strict=True))

    def _push(self, inputs: Inputs, display: Display) -> None:
        """Push, unless somebody did meanwhile: what a tag with a fingerprint names stays."""
        name, tag = str(inputs.image), image_tag(inputs)
        with exclusive(images.lock_of(self.cache, f"{self.registry.repository}:{tag}")):
            if self.registry.digest(tag):
                self.console.say(f"reuse    {name}: another process pushed it meanwhile")
                return
            display.started(name, "push", self.registry.repository)
            try:
                Transfer(self.client, self.cache).push(
                    inputs.reference,
                    self.registry.repository,
                    tag,
                    lambda text, *counts: display.step(name, text, *counts),
                )
            except EnvmatrixError:
                display.finished(name, "failed")
                raise
            display.finished(name, "pushed")

    def _publish_index(self, index: Index) -> PublishedIndex:
        """Put the index under both its tags; the one with its fingerprint never moves."""
        found = self.registry.manifest(index.tag)
        parts = {its.image.arch: self._part(its, found) for its in index.images}
        described = {arch: image for arch, (image, _) in parts.items()}
        if found is None:
            sizes = {image.digest: len(its.content) for image, its in parts.values()}
            found = Manifest(INDEX, index_document(index, described, sizes))
            self.registry.put_manifest(index.tag, found)
            self.console.say(f"publish  {index.tag}: {', '.join(described)}")
        self.accompany(index, {arch: manifest for arch, (_, manifest) in parts.items()}, found)
        if self.registry.digest(index.moving_tag) != found.digest:
            self.registry.put_manifest(index.moving_tag, found)
        return PublishedIndex(self.registry.repository, found.digest, index.fingerprint, described)

    def _part(self, inputs: Inputs, published: Manifest | None) -> tuple[PublishedImage, Manifest]:
        """One image of an index, as that has it already, or as its own tag names it."""
        if published is None:
            return published_image(self.registry, inputs, image_tag(inputs))
        digest = published.by_architecture().get(inputs.image.arch)
        if digest is None:
            raise LookupFailed(
                f"`{self.registry.repository}@{published.digest}` lacks `{inputs.image}`",
                hint=_FOREIGN,
            )
        return published_image(self.registry, inputs, digest)


def published_image(
    registry: Registry, inputs: Inputs, reference: str
) -> tuple[PublishedImage, Manifest]:
    """What a tag or digest names; LookupFailed where that is not made of `inputs`."""
    manifest = registry.manifest(reference)
    if manifest is None:
        raise Absent(f"`{registry.repository}` lost `{reference}`", hint="push it again")
    digest = manifest.read(lambda its: str(its["config"]["digest"]))
    config = Manifest("", registry.blob(digest))
    labels = config.read(lambda its: its.get("config", {}).get("Labels") or {})
    if not _is(inputs, labels):
        found = labels.get(FINGERPRINT_LABEL, "none")
        raise LookupFailed(
            f"`{registry.repository}:{reference}` is not `{inputs.image}` as the lock has it",
            details=[f"its fingerprint is {found}, that of the lock {inputs.fingerprint}"],
            hint=_FOREIGN,
        )
    diff_ids = config.read(lambda its: tuple(its["rootfs"]["diff_ids"]))
    return PublishedImage(manifest.digest, inputs.fingerprint, diff_ids), manifest


def _is(inputs: Inputs, labels: Mapping[str, str]) -> bool:
    return labels.get(FINGERPRINT_LABEL) == inputs.fingerprint
