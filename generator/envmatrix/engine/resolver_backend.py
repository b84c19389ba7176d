"""The services of this machine that locking uses: apt outside and inside a base, and bases."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path

from envmatrix.console import Console
from envmatrix.deb822 import paragraphs
from envmatrix.engine import bases, docker_client
from envmatrix.engine.bases import BaseLayout
from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.model import Facts
from envmatrix.facts.systems import Archive, SignedArchive
from envmatrix.facts.targets import MACHINES, machine_called
from envmatrix.images.environments import base_image
from envmatrix.lock.cuda_in_image import PROBE, ProbedImage, parse_contents
from envmatrix.lock.model import BootstrapRequest, ImageRequest, PackageSet
from envmatrix.lock.resolvers.apt import Apt, Run
from envmatrix.lock.resolvers.dnf import Dnf, PackageManager, Repositories, release_time
from envmatrix.lock.resolvers.nvidia import is_armored
from envmatrix.lock.resolvers.protocol import BaseState
from envmatrix.lock.resolvers.zypper import Zypper
from envmatrix.machine.engine_address import engine_address
from envmatrix.machine.error_texts import Refusal, refusal, refuses_user
from envmatrix.machine.processes import run
from envmatrix.machine.remedies import engine_remedy
from envmatrix.records import dataclass
from envmatrix.store.downloads import Fetcher
from envmatrix.store.image_records import ImageRecords
from envmatrix.store.unlocked_files import UnlockedFiles

_OTHERWISE = "is the mirror reachable, and the name right?"
_REMEDIES: Mapping[Refusal | None, str] = {
    "absent": "the server has no such thing: is the name right, and does the mirror have it?",
    "unreachable": "is the network there, and the proxy right? see `apt-config dump Acquire` and "
    "$https_proxy",
}

# Where rpm keeps its database: until 4.16, and since then on some systems.
_RPM_DATABASES = ("var/lib/rpm", "usr/lib/sysimage/rpm")

_MANAGERS: Mapping[str, type[Dnf | Zypper]] = {"rpm": Dnf, "zypper": Zypper}

# The field of an ELF header that names its machine.
_ELF_MACHINE = struct.Struct("<18xH")


@dataclass
class LocalBackend:
    """`directory` holds apt's indexes for as long as one lock is made.

    `host_arch` is Docker's name of this machine's architecture: an apt in a base of another
    one is never run, it resolves for it.
    """

    directory: Path
    cache: Path
    fetcher: Fetcher
    console: Console
    facts: Facts
    host_arch: str
    _apts: dict[tuple[str, ...], Apt] = field(default_factory=dict)
    _layouts: dict[str, tuple[BaseLayout, str]] = field(default_factory=dict)
    _images: dict[str, str] = field(default_factory=dict)
    _families: dict[str, str] = field(default_factory=dict)

    def apt_of_host(self, suite: str, arch: str) -> Apt:
        return self._apt(suite, arch, on_host)

    def manager_in_base(
        self,
        base: str,
        suite: str,
        arch: str,
        foreign: tuple[str, ...] = (),
        archives: tuple[SignedArchive, ...] = (),
    ) -> PackageManager:
        if self.facts.of_suite(suite).family.name != "deb":
            return self.rpm_manager_in_base(base, self._repositories(suite, arch))
        image = self._load_base(base)
        return self._apt(suite, arch, partial(self._in_container, image), foreign, archives)

    def rpm_manager_in_base(self, base: str, repositories: Repositories) -> PackageManager:
        image = self._load_base(base)
        directory = self.directory / repositories.name
        manager = _MANAGERS[self._families[base]]
        return manager(directory, repositories, partial(self._in_container, image))

    def release_time(self, suite: str, arch: str) -> int:
        if self.facts.of_suite(suite).family.name == "deb":
            return self.apt_of_host(suite, arch).release_time
        repositories = self._repositories(suite, arch)
        client, outages = self.fetcher.client, self.fetcher.outages
        files = UnlockedFiles(client, [repositories.mirror], outages)
        return release_time(repositories, files.read)

    def _repositories(self, suite: str, arch: str) -> Repositories:
        os, archive = self.facts.of_suite(suite), self.facts.archive(suite, arch)
        words = {"releasever": str(os.releasever), "arch": MACHINES[arch].rpm}
        paths = os.repositories or archive.distribution.repositories
        return Repositories(
            name=f"{suite}-{arch}",
            origin=archive.origin,
            mirror=self._mirrors(archive)[0],
            paths=tuple(path.format_map(words) for path in paths),
            arch=arch,
            releasever=str(os.releasever),
        )

    def base(self, key: str, package_set: PackageSet, epoch: int, helper: str | None) -> BaseState:
        request = package_set.request
        if isinstance(request, ImageRequest):
            return self._image(key, request)
        self.fetcher.fetch(package_set.artifacts, self.console)
        assert isinstance(request, BootstrapRequest)  # noqa: S101 -- the other kind of a base
        has_dpkg_root = self.facts.of_suite(request.suite).has_dpkg_root
        native = self._layouts[helper][0] if helper and has_dpkg_root else None
        store = self.fetcher.store
        with self.console.display() as display:
            layout = bases.base_layout(
                self.cache, store, package_set, epoch, display, helper=native
            )
        self._layouts[key] = layout, base_image(key, replace(package_set, diff_id=layout.diff_id))
        return BaseState(layout.diff_id, layout.read("var/lib/dpkg/status"))

    def contents_of(self, image: str, arch: str) -> ProbedImage:
        return parse_contents(run_in_image(image, arch, "sh", "-c", PROBE))

    def _load_base(self, base: str) -> str:
        """Return the engine's name of a base, which `base` built before; load it first."""
        if base not in self._images:
            layout, self._images[base] = self._layouts[base]
            bases.load_base(layout, self._images[base], ImageRecords(self.cache))
        return self._images[base]

    def _image(self, key: str, request: ImageRequest) -> BaseState:
        image = request.image
        _pull(image, request.arch)
        self._images[key] = image
        self._families[key] = self.facts.of_suite(request.suite).family.name
        if self._families[key] != "deb":
            return BaseState(None, str(self._rpm_database(key, image, request.arch)))
        status = run_in_image(image, request.arch, "cat", "/var/lib/dpkg/status")
        check_architecture(image, request.arch, status)
        return BaseState(None, status)

    def _rpm_database(self, key: str, image: str, arch: str) -> Path:
        """Return a root with only the rpm database of an image, without running the image."""
        root = self.directory / f"{key}-root"
        root.mkdir()
        platform, unset = f"--platform=linux/{arch}", docker_client.without_proxies("env")
        container = on_host(["docker", "create", *unset, platform, image, "-"]).strip()
        try:
            for path in _RPM_DATABASES:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                copy = ["docker", "cp", f"{container}:/{path}", str((root / path).parent)]
                subprocess.run(copy, capture_output=True, check=False)
            copy = ["docker", "cp", "--follow-link", f"{container}:/usr/bin/rpm", str(root)]
            subprocess.run(copy, capture_output=True, check=False)
        finally:
            on_host(["docker", "rm", "--force", container])
        if not (root / "rpm").is_file():
            hint = "name an image of the cell's own operating system under `bases`"
            raise LookupFailed(f"the base `{image}` has no `rpm`", hint=hint)
        header = (root / "rpm").read_bytes()[: _ELF_MACHINE.size].ljust(_ELF_MACHINE.size)
        machine = machine_called(elf=("<", *_ELF_MACHINE.unpack(header)))
        image_arch = machine.docker if machine else "another architecture"
        _refuse_other_architecture(image, arch, image_arch)
        return root

    def _apt(
        self,
        suite: str,
        arch: str,
        runner: Run,
        foreign: tuple[str, ...] = (),
        others: tuple[SignedArchive, ...] = (),
    ) -> Apt:
        """Return apt for a suite and other archives; every runner shares one index of them."""
        key = (suite, arch, *foreign, *(f"{other.origin} {other.suite}" for other in others))
        if key not in self._apts:
            archives = [self.facts.archive(suite, name) for name in (arch, *foreign)]
            archives += [self._proven(other, arch) for other in others]
            self._apts[key] = self._prepare_apt(*archives)
        return replace(self._apts[key], run=runner)

    def _proven(self, signed: SignedArchive, arch: str) -> Archive:
        """Return a signed archive that apt takes by itself."""
        origin, name = signed.origin, signed.suite.replace("/", "-")
        mirrors = self.fetcher.origins.archive(origin)
        files = UnlockedFiles(self.fetcher.client, mirrors, self.fetcher.outages)
        try:
            key = files.read(signed.key)
        except Absent as error:
            hint = f"`key` is a path below the URL of [mirrors] {origin} in your configuration"
            raise Absent(error.message, details=error.details, hint=hint) from error
        # apt tells the two forms of a key apart by the file's name.
        directory = self.directory / f"{origin}-{name}-{arch}"
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / ("key.asc" if is_armored(key) else "key.gpg")
        file.write_bytes(key)
        archive = signed.archive(arch, str(file))
        try:
            Apt(directory, archive, mirrors[0], on_host).update()
        except LookupFailed as error:
            path = "/".join(filter(None, (mirrors[0], signed.path)))
            raise LookupFailed(
                f"apt does not take `{signed.suite}` from {path}",
                details=error.details or [error.message],
                hint=f"it must be whole and signed with the key {signed.fingerprint}, which is in "
                f"`{signed.key}` there",
            ) from error
        return archive

    def security_of(self, suite: str, arch: str) -> Apt:
        """Return apt for the security updates of a suite."""
        of_suite = self.facts.archive(suite, arch)
        origin = of_suite.distribution.security or of_suite.origin
        return self._prepare_apt(replace(of_suite, suite=f"{suite}-security", origin=origin))

    def _prepare_apt(self, archive: Archive, *foreign: Archive) -> Apt:
        """Return apt of this machine with the index of `archive`, verified by its keyring,
        and those of other architectures."""
        distribution = archive.distribution
        if not Path(distribution.keyring).exists():
            hint = f"install the package `{distribution.keyring_package}`"
            proven = f"it proves what the archive of `{distribution.name}` says"
            raise LookupFailed(f"`{distribution.keyring}` is missing: {proven}", hint=hint)
        names = (
            item.arch if item.suite == archive.suite else f"{item.origin}-{item.suite}"
            for item in foreign
        )
        name = "-".join((archive.suite, archive.arch, *names)).replace("/", "-")
        directory = self.directory / name
        mirrors = self._mirrors(archive)
        for mirror in mirrors:
            apt = self._apt_at(mirror, directory, archive, *foreign)
            try:
                apt.update()
                break
            except LookupFailed as error:
                if mirror == mirrors[-1]:
                    raise
                self.console.warn(f"`{mirror}` does not serve {archive.suite}: {error.message}")
                shutil.rmtree(directory, ignore_errors=True)
        return apt

    def _apt_at(self, mirror: str, directory: Path, archive: Archive, *foreign: Archive) -> Apt:
        """Return apt with an archive at `mirror`, and other architectures from there if it has
        them."""
        others = tuple(
            (other, mirror if other.origin == archive.origin else self._mirrors(other)[0])
            for other in foreign
        )
        return Apt(directory, archive, mirror, on_host, others)

    def _mirrors(self, archive: Archive) -> Sequence[str]:
        return self.fetcher.origins.archive(archive.origin)

    def _in_container(self, image: str, command: Sequence[str]) -> str:
        shared = f"--volume={self.directory}:{self.directory}"
        return _run_once(["--network=host", shared], image, command)


def _pull(image: str, arch: str) -> None:
    try:
        on_host(["docker", "pull", "--quiet", f"--platform=linux/{arch}", image])
    except LookupFailed as error:
        match refusal("\n".join(error.details)):
            case "absent":
                message = f"the registry has no image `{image}`, or none for {arch}"
                hint = "correct it under `bases` or `sources` in matrix.yaml"
                raise Absent(message, details=error.details, hint=hint) from error
            case "login":
                message = f"the registry does not give `{image}`"
                hint = "is its name right? if it needs a login: `docker login`"
                raise LookupFailed(message, details=error.details, hint=hint) from error
        raise


def run_in_image(image: str, arch: str, *command: str) -> str:
    """Return the output of a program of an image."""
    return _run_once(["--network=none", f"--platform=linux/{arch}"], image, command)


def _run_once(settings: Sequence[str], image: str, command: Sequence[str]) -> str:
    unset, (program, *arguments) = docker_client.without_proxies("env"), command
    settings = (*settings, f"--entrypoint={program}")
    return on_host(["docker", "run", "--rm", *unset, *settings, image, *arguments])


def check_architecture(image: str, arch: str, status: str) -> None:
    """Raise LookupFailed for an image that is not for `arch`, by its C library in dpkg's `status`.

    An engine may run the image of another architecture than the one it was asked for.
    """
    packages = paragraphs(status, f"the dpkg database of `{image}`")
    libraries = (fields for fields in packages if fields.get("Package") == "libc6")
    name = next(libraries, {"Architecture": MACHINES[arch].debian}).get("Architecture", "")
    machine = machine_called(debian=name)
    _refuse_other_architecture(image, arch, machine.docker if machine else name)


def _refuse_other_architecture(image: str, arch: str, image_arch: str) -> None:
    if image_arch != arch:
        hint = "name the digest of its index, which has every architecture"
        raise LookupFailed(f"the base `{image}` is for {image_arch}, not for {arch}", hint=hint)


def on_host(command: Sequence[str]) -> str:
    try:
        return run(command, failing=LookupFailed, hint=_OTHERWISE)
    except LookupFailed as error:
        text = "\n".join(error.details)
        reason = refusal(text)
        kind = Absent if reason == "absent" else LookupFailed
        is_refused = command[0] == "docker" and refuses_user(text)
        remedy = engine_remedy(text, engine_address(os.environ)) if is_refused else None
        hint = remedy or _REMEDIES.get(reason, error.hint)
        raise kind(error.message, details=error.details, hint=hint) from error
