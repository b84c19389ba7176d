"""Carries out build actions: at most N builds and bases at once, each when its files are there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from threading import get_native_id
from typing import TYPE_CHECKING, Literal, NamedTuple

from envmatrix.console import Console, Display, Meter
from envmatrix.engine import bases, docker_client, image_store
from envmatrix.engine.bases import BaseLayout
from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.engine.buildx import Build, BuildOptions, Buildx, missing_caches
from envmatrix.engine.image_store import recorded_images
from envmatrix.engine.transfer import sweep_names
from envmatrix.errors import Absent
from envmatrix.images.contents import build_record
from envmatrix.images.environments import BaseStage, Environment, FileStage, base_image
from envmatrix.images.model import Image
from envmatrix.lock.model import Excerpt, Lock, StageFile, helper_of
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.resources import DOWNLOADS
from envmatrix.matrix.model import COMPRESSION, Compression
from envmatrix.parallel import INTERRUPTION, end_if_interrupted, run_dependent
from envmatrix.plan.actions import Inputs
from envmatrix.records import dataclass
from envmatrix.store.artifacts import link_or_copy
from envmatrix.store.downloads import Fetcher
from envmatrix.store.image_records import ImageRecords
from envmatrix.store.mirrors import fetcher_of_user

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
    compression: Compression = COMPRESSION

    @property
    def reference(self) -> str:
        return self.names[0]

    @property
    def image(self) -> Image:
        return self.inputs.image


class Step(NamedTuple):
    """A step of builds: the download of a set of the lock, the base of a set, or the image with a
    reference."""

    kind: Literal["download", "base", "image"]
    name: str


Needs = Mapping[Step, Sequence[Step]]


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
        """Build all `orders` and return reference -> digest. An image begins when its files and
        bases are there; the first failure is raised after what runs has ended."""
        if not orders:
            return {}
        sweep_names(self.client, self.cache)
        missing = self._missing_bases(orders)
        needs = self._needs(orders, missing)
        try:
            with self.console.display() as display:
                steps = _Steps(self, display, {order.reference: order for order in orders})
                return steps.run(needs, jobs)
        except Absent:
            # Name the files of all images that are gone, not only those of one set.
            self.fetch([step.name for step in needs if step.kind == "download"], self.console)
            raise

    def fetch(self, keys: Iterable[str], progress: Meter) -> None:
        """Download the files of sets of the lock that the store lacks."""
        files = {item for key in keys for item in self.lock.sets[key].files}
        self.fetcher.fetch(sorted(files, key=lambda item: item.sha256), progress)

    def make_base(self, key: str, display: Display) -> BaseLayout:
        """Return the base of a set of the lock whose files are in the store; load it into this
        engine, if that builds."""
        package_set = self.lock.sets[key]
        store, mirror, epoch = self.fetcher.store, self.fetcher.mirror, self.lock.epoch
        helper = self.helper(key)
        layout = bases.base_layout(self.cache, store, package_set, epoch, display, mirror, helper)
        if self.options.builder is None:
            bases.load_base(layout, base_image(key, package_set), self.records)
        return layout

    def helper(self, key: str) -> BaseLayout | None:
        """Return the base with whose programs that of a set is made, if the cache has it."""
        helper = helper_of(key, self.lock.sets, self.host_arch)
        sets, epoch = self.lock.sets, self.lock.epoch
        return bases.cached_base(self.cache, sets[helper], epoch) if helper else None

    def bases(self, orders: Iterable[Order]) -> tuple[BaseStage, ...]:
        """Return the bootstrapped bases of the images and of the unpackers on this machine, without
        duplicates."""
        return tuple({base.key: base for order in orders for base in self._bases(order)}.values())

    @property
    def _build_host(self) -> str | None:
        """The architecture of the machine that builds; None if it may be any."""
        return None if self.options.builder else self.host_arch

    def _bases(self, order: Order) -> tuple[BaseStage, ...]:
        return order.environment.bases_of(order.image.arch, self._build_host)

    def _file_stages(self, order: Order) -> tuple[FileStage, ...]:
        return order.environment.files_of(order.inputs.contents.stages, self._build_host)

    def _missing_bases(self, orders: Iterable[Order]) -> Collection[str]:
        """Return the sets of the bases that the builder lacks; a builder other than this engine
        lacks all."""
        images = {base.image: base.key for base in self.bases(orders)}
        present = () if self.options.builder else recorded_images([*images], self.records)
        return [key for image, key in images.items() if image not in present]

    def _needs(self, orders: Iterable[Order], missing: Collection[str]) -> Needs:
        """Return all steps, each with those that it needs. Downloads are in the order of the images
        that need them: of each first the packages of bases, which have to be made, then the largest
        set."""
        downloads: dict[Step, Sequence[Step]] = {}
        others: dict[Step, Sequence[Step]] = {}
        for order in orders:
            sets = {stage.key for stage in self._file_stages(order)}
            bases = [base.key for base in self._bases(order) if base.key in missing]
            for key in (*bases, *sorted(sets, key=self._largest_first)):
                downloads.setdefault(Step("download", key), ())
            others |= {Step("base", key): self._needs_of_base(key, bases) for key in bases}
            others[Step("image", order.reference)] = [
                *(Step("download", key) for key in sets),
                *(Step("base", key) for key in bases),
            ]
        return downloads | others

    def _needs_of_base(self, key: str, missing: Collection[str]) -> Sequence[Step]:
        helper = helper_of(key, self.lock.sets, self.host_arch)
        helpers = [Step("base", helper)] if helper and helper in missing else []
        return [Step("download", key), *helpers]

    def _largest_first(self, key: str) -> tuple[int, str]:
        """Return a sort key of a set: the one with the largest files first."""
        return -sum(item.downloaded for item in self.lock.sets[key].files), key

    def build_image(
        self, buildx: Buildx, order: Order, layouts: Mapping[str, BaseLayout], display: Display
    ) -> str:
        """Build an image, unless another process did so while this one waited; return its digest.
        Its files and bases are there."""
        build = self._build_of(order, layouts)
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

    def _build_of(self, order: Order, layouts: Mapping[str, BaseLayout]) -> Build:
        stages, environment = self._file_stages(order), order.environment
        contexts: dict[str, Path | str] = {}
        for stage in stages:  # BuildKit of Docker 26 also reads the parts of a replaced stage
            contexts |= dict.fromkeys((stage.stage, *stage.parts), self._context(stage))
        if self.options.builder:
            contexts |= {
                base.image: layouts[base.key].context
                for base in environment.bases
                if base.key in layouts
            }
        return Build(
            order.image,
            environment.epoch,
            order.context / environment.name / "Dockerfile",
            order.context,
            contexts,
            order.inputs.labels,
            order.names,
            order.no_cache,
            order.compression,
            self.options,
        )

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
                scratch.unlink(missing_ok=True)  # of two links to one file, `replace` keeps both
        return directory


@dataclass(frozen=True, slots=True)
class _Steps:
    """Does the steps of `orders`, by their references; `layouts` are those of the bases that were
    made, by their sets."""

    builder: Builder
    display: Display
    orders: Mapping[str, Order]
    buildx: Buildx = field(default_factory=Buildx)
    layouts: dict[str, BaseLayout] = field(default_factory=dict)

    def run(self, needs: Needs, jobs: int) -> Mapping[str, str]:
        """Do all steps; return reference -> digest."""
        with ThreadPoolExecutor(DOWNLOADS) as downloads, ThreadPoolExecutor(jobs) as builds:
            results = run_dependent(
                self._do,
                needs,
                lambda step: downloads if step.kind == "download" else builds,
                self._interrupt,
            )
        return {reference: results[Step("image", reference)] for reference in self.orders}

    def _interrupt(self, error: BaseException) -> None:
        """End all that runs if the user wants that: this program ends as well."""
        if isinstance(error, KeyboardInterrupt) and not INTERRUPTION.is_set:
            self.builder.console.say(
                "interrupted: ending downloads and builds; Ctrl-C again ends at once"
            )
        end_if_interrupted(error)

    def _do(self, step: Step) -> str:
        """Do a step; return the digest of an image."""
        match step.kind:
            case "download":
                self.builder.fetch([step.name], self.display.download(step.name))
            case "base":
                self.layouts[step.name] = self.builder.make_base(step.name, self.display)
            case "image":
                order = self.orders[step.name]
                return self.builder.build_image(self.buildx, order, self.layouts, self.display)
        return ""


def context_name(files: Sequence[StageFile]) -> str:
    """Return the name of the cache directory with exactly `files`."""
    names = "\n".join(item.sha256 for item in files)
    return hashlib.sha256(names.encode()).hexdigest()[:24]


@contextmanager
def local_builder(
    lock: Lock, console: Console, options: BuildOptions | None = None
) -> Iterator[Builder]:
    """Yield a builder with this machine's engine, cache and mirrors, with `options`."""
    with docker_client.connect() as client, fetcher_of_user(console.warn, lock.epoch) as fetcher:
        arch, records = image_store.architecture(client), ImageRecords.of_user()
        options = options or BuildOptions()
        yield Builder(client, cache_directory(), records, fetcher, lock, console, arch, options)
