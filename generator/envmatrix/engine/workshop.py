"""What locking needs of this machine: apt outside and inside a base, and bases themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from envmatrix.console import Console
from envmatrix.engine import bases
from envmatrix.engine.bases import BaseLayout
from envmatrix.engine.processes import run
from envmatrix.errors import LookupFailed
from envmatrix.lock.apt import Apt
from envmatrix.lock.image import PROBE, Contents, read
from envmatrix.lock.model import PackageSet, Request
from envmatrix.lock.resolve import Base
from envmatrix.matrix.facts import Archive, Facts
from envmatrix.plan.environments import base_image
from envmatrix.store.artifacts import Store
from envmatrix.store.fetch import Fetcher
from envmatrix.store.origins import Origins

_LIBC_ARCHITECTURE = re.compile(r"^Package: libc6\n(?:.+\n)*?Architecture: (\S+)", re.MULTILINE)


@dataclass
class LocalWorkshop:
    """`directory` holds apt's indexes for as long as one lock is made.

    `host_arch` is Docker's name of this machine's architecture: an apt in a base of another
    one is never run, it resolves for it.
    """

    directory: Path
    cache: Path
    store: Store
    fetcher: Fetcher
    console: Console
    facts: Facts
    origins: Origins
    host_arch: str
    _apts: dict[tuple[str, str], Apt] = field(default_factory=dict)
    _layouts: dict[str, tuple[BaseLayout, str]] = field(default_factory=dict)
    _images: dict[str, str] = field(default_factory=dict)

    def apt_of_host(self, suite: str, arch: str) -> Apt:
        return self._apt(suite, arch, on_host)

    def apt_in_base(self, base: str, suite: str, arch: str) -> Apt:
        image = self._loaded(base)
        return self._apt(suite, arch, lambda command: self._in_container(image, command))

    def base(self, key: str, package_set: PackageSet, epoch: int) -> Base:
        if package_set.request.resolver == "image":
            return self._image(key, package_set.request)
        self.fetcher.fetch(package_set.artifacts, self.console)
        layout = bases.base_layout(self.cache, self.store, package_set, epoch, self.console)
        self._layouts[key] = layout, base_image(key, package_set.request, layout.diff_id)
        return Base(layout.diff_id, layout.read("var/lib/dpkg/status"))

    def look_into(self, image: str, arch: str) -> Contents:
        platform = f"--platform=linux/{arch}"
        show = ["docker", "run", "--rm", "--network=none", platform, "--entrypoint=sh", image]
        return read(_run([*show, "-c", PROBE]))

    def _loaded(self, base: str) -> str:
        """The engine's name of a base that was made before."""
        if base not in self._images:
            layout, self._images[base] = self._layouts[base]
            bases.load(layout, self._images[base])
        return self._images[base]

    def _image(self, key: str, request: Request) -> Base:
        (image,) = request.packages
        platform = f"--platform=linux/{request.arch}"
        _run(["docker", "pull", "--quiet", platform, image])
        self._images[key] = image
        show = ["docker", "run", "--rm", "--network=none", platform, "--entrypoint=cat", image]
        status = _run([*show, "/var/lib/dpkg/status"])
        check_architecture(image, request.arch, status)
        return Base(None, status)

    def _apt(self, suite: str, arch: str, runner: Callable[[Sequence[str]], str]) -> Apt:
        """The one view of this suite; its index is the same for whoever asks."""
        known = self._apts.get((suite, arch))
        if known is None:
            known = self._apts[suite, arch] = self._read(self.facts.archive(suite, arch))
        return replace(known, run=runner)

    def _read(self, archive: Archive) -> Apt:
        """apt of this machine with the index of `archive`, which this machine's keyring proves."""
        distribution = archive.distribution
        if not Path(distribution.keyring).exists():
            raise LookupFailed(
                f"`{distribution.keyring}` is missing: it proves what the archive of "
                f"`{distribution.name}` says",
                hint=f"install the package `{distribution.keyring_package}`",
            )
        directory = self.directory / f"{archive.suite}-{archive.arch}"
        apt = Apt(directory, archive, self.origins.archive(archive.origin)[0], on_host)
        apt.update()
        return apt

    def _in_container(self, image: str, command: Sequence[str]) -> str:
        program, *arguments = command
        shared = f"--volume={self.directory}:{self.directory}"
        start = ["docker", "run", "--rm", "--network=host", shared, f"--entrypoint={program}"]
        return _run([*start, image, *arguments])


def check_architecture(image: str, arch: str, status: str) -> None:
    """Refuse an image that is not for `arch`, by what its dpkg `status` says of its C library.

    An engine may run the image of another architecture than the one it was asked for.
    """
    found = _LIBC_ARCHITECTURE.search(status)
    if found and found[1] != arch:
        raise LookupFailed(
            f"the base `{image}` is for {found[1]}, not for {arch}",
            hint="name the digest of its index, which has every architecture",
        )


def on_host(command: Sequence[str]) -> str:
    return _run(command)


def _run(command: Sequence[str]) -> str:
    return run(command, failing=LookupFailed, hint="is the mirror reachable, and the name right?")
