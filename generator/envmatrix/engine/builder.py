"""Carries out build actions: prepares bases and files, then runs at most N builds at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_native_id
from typing import TYPE_CHECKING

from envmatrix.console import Console, Display
from envmatrix.engine import bases, docker_client, image_store
from envmatrix.engine.bases import BaseLayout
from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.engine.buildx import Build, BuildOptions, Buildx, missing_caches
from envmatrix.engine.transfer import sweep_names
from envmatrix.images.contents import build_record
from envmatrix.images.environments import BaseStage, Environment, FileStage
from envmatrix.images.model import Image
from envmatrix.lock.model import Excerpt, Lock, StageFile
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.parallel import run_parallel
from envmatrix.plan.actions import Inputs
from envmatrix.store.artifacts import Store, link_or_copy
from envmatrix.store.downloads import Fetcher
from envmatrix.store.image_records import ImageRecords
from envmatrix.store.mirrors import mirror_of_user

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True, slots=True)
class Order:
    """An image to build: its Dockerfile in `context`, the directory of generated files; the reason;
    and its names, of which the first is unique. `anew`: build even where another process built it
    meanwhile."""

    environment: Environment
    inputs: Inputs
    context: Path
    names: tuple[str, ...]
    reason: str
    anew: bool = False
    no_cache: bool = False

    @property
    def reference(self) -> str:
        return self.names[0]

    @property
    def image(self) -> Image:
        return self.inputs.image


@dataclass(frozen=True, slots=True)
class Builder:
    client: docker.DockerClient
    cache: Path
    records: ImageRecords
    fetcher: Fetcher
    lock: Lock
    console: Console
    host_arch: str
    options: BuildOptions = field(default_factory=BuildOptions)

    def build(self, orders: Sequence[Order], jobs: int) -> Mapping[str, str]:
        """Build all `orders` and return reference -> digest; the first failure is raised after
        running builds have ended."""
        if not orders:
            return {}
        sweep_names(self.client, self.cache)
        stages = {stage for order in orders for stage in self._file_stages(order)}
        names = {stage.stage for stage in stages}
        files = {item for stage in stages for item in stage.files}
        self.console.detail(f"{len(files)} files in {len(names)} stages")
        layouts = {base.image: self._prepare_base(base) for base in self._missing_bases(orders)}
        self.fetcher.fetch(sorted(files, key=lambda item: item.sha256), self.console)
        return self._run(orders, layouts, jobs)

    def _file_stages(self, order: Order) -> tuple[FileStage, ...]:
        """Return the stages that the image depends on and the unpackers of files: of this machine's
        architecture, or of any where the builder is elsewhere."""
        unpackers = "unpacker-files-" + ("" if self.options.builder else self.host_arch)
        return tuple(
            stage
            for stage in order.environment.files
            if stage.stage in order.inputs.contents.stages or stage.stage.startswith(unpackers)
        )

    def bases(self, orders: Iterable[Order]) -> tuple[BaseStage, ...]:
        """Return the bootstrapped bases of the images and of the unpackers on this machine, without
        duplicates."""
        needed = {
            base.key: base
            for order in orders
            for base in order.environment.bases
            if base.arch in (order.image.arch, self.host_arch) or self.options.builder
        }
        return tuple(base for base in needed.values() if base.is_bootstrapped)

    def _missing_bases(self, orders: Iterable[Order]) -> Iterator[BaseStage]:
        """Yield the bases that the builder lacks; a builder other than this engine lacks all."""
        needed = self.bases(orders)
        existing = image_store.local_images([base.image for base in needed])
        for base in needed:
            image = existing.get(base.image)
            if self.options.builder or not (image and self.records.has(base.image, image.id)):
                yield base

    def _prepare_base(self, base: BaseStage) -> BaseLayout:
        package_set = self.lock.sets[base.key]
        self.fetcher.fetch(package_set.artifacts, self.console)
        store, mirror, epoch = self.fetcher.store, self.fetcher.mirror, self.lock.epoch
        layout = bases.base_layout(self.cache, store, package_set, epoch, self.console, mirror)
        if self.options.builder is None:
            bases.load_base(layout, base.image, self.records)
        return layout

    def _run(
        self, orders: Sequence[Order], layouts: Mapping[str, BaseLayout], jobs: int
    ) -> Mapping[str, str]:
        buildx = Buildx()
        pairs = [(self._build_of(order, layouts), order) for order in orders]

        def interrupt(error: BaseException) -> None:
            if isinstance(error, KeyboardInterrupt):
                buildx.interrupt()

        with self.console.display() as display:
            digests = run_parallel(
                lambda pair: self._build_one(buildx, *pair, display), pairs, jobs, interrupt
            )
        return {order.reference: digest for order, digest in zip(orders, digests, strict=True)}

    def _build_of(self, order: Order, layouts: Mapping[str, BaseLayout]) -> Build:
        stages, environment = self._file_stages(order), order.environment
        contexts: dict[str, Path | str] = {stage.stage: self._context(stage) for stage in stages}
        if self.options.builder:
            images = [base.image for base in environment.bases if base.image in layouts]
            contexts |= {image: layouts[image].context for image in images}
        return Build(
            order.image,
            environment.epoch,
            order.context / environment.name / "Dockerfile",
            order.context,
            contexts,
            order.inputs.labels,
            order.names,
            order.no_cache,
            self.options,
        )

    def _build_one(self, buildx: Buildx, build: Build, order: Order, display: Display) -> str:
        """Build and return the digest, unless another process did so while this one waited."""
        name = str(build.image)
        with image_store.locked(self.cache, order.reference, name, self.console):
            fingerprint = order.inputs.fingerprint
            before = image_store.digest(self.client, order.reference)
            if not order.anew and before and self.records.has(fingerprint, before):
                self.console.say(f"reuse    {name}: built by another process meanwhile")
                return before
            with display.job(name, "build", order.reason, "built"):
                progress = BuildProgress(
                    on_step=lambda step: display.step(name, step, *progress.counts),
                    on_log=lambda line: display.log(name, line),
                )
                missing = tuple(missing_caches(build))
                digest = buildx.build(build, progress)
                for reason in (*missing, *progress.unread_caches()):
                    self.console.warn(f"{name}: no layers from a cache: {reason}")
                self.records.keep_contents(fingerprint, build_record(order.inputs.contents))
                if order.reference == order.inputs.reference:
                    now = image_store.digest(self.client, order.reference)
                    self.records.note(fingerprint, now, is_ours=before is None)
            return digest

    def _context(self, stage: FileStage) -> Path:
        """Return a directory of the stage's files, named by content: BuildKit sends only new ones.

        Each file is a link to the verified file of the store, replaced atomically. The whole file
        is there where its excerpt could not be made.
        """
        store = self.fetcher.store
        directory = self.cache / "contexts" / context_name(stage.files)
        directory.mkdir(parents=True, exist_ok=True)
        for file in stage.files:
            item = file.artifact if isinstance(file, Excerpt) and not store.has(file) else file
            source, link = store.path(item), directory / item.filename
            if not (link.exists() and link.samefile(source)):
                scratch = directory.with_name(f"{directory.name}.{item.sha256}.{get_native_id()}")
                scratch.unlink(missing_ok=True)
                link_or_copy(source, scratch)
                scratch.replace(link)
        return directory


def context_name(files: Sequence[StageFile]) -> str:
    """Return the name of the cache directory with exactly `files`."""
    names = "\n".join(item.sha256 for item in files)
    return hashlib.sha256(names.encode()).hexdigest()[:24]


@contextmanager
def local_builder(
    lock: Lock, console: Console, options: BuildOptions | None = None
) -> Iterator[Builder]:
    """Yield a builder with this machine's engine, cache and mirrors, with `options`."""
    origins = Origins()
    with (
        docker_client.connect() as client,
        http_client(origins) as http,
        mirror_of_user() as mirror,
    ):
        fetcher = Fetcher(Store.of_user(), origins, http, mirror=mirror, epoch=lock.epoch)
        arch, records = image_store.architecture(client), ImageRecords.of_user()
        options = options or BuildOptions()
        yield Builder(client, cache_directory(), records, fetcher, lock, console, arch, options)
