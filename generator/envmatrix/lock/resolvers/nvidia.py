"""NVIDIA's repositories, resolved by apt and dnf, which verify their signatures.

A repository has a directory for each architecture: `cuda/repos/debian12/x86_64/`. That of apt is
flat. The packages of a release have versions of their own: `libcusparse-12-4` of CUDA 12.4.1 is
12.3.1.170. The release's manifest has them, under names that `facts/data/versions.yaml` says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from envmatrix.errors import LookupFailed
from envmatrix.facts.components import manifest_names
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.systems import Archive, Distribution, NvidiaRepository
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import PackageSet, RepositoryRequest
from envmatrix.lock.resolvers.apt import Apt, Run
from envmatrix.lock.resolvers.dnf import Repositories
from envmatrix.lock.resolvers.protocol import ResolvedSets
from envmatrix.machine.configuration import NVIDIA
from envmatrix.records import dataclass

# Name in the manifest of a CUDA release -> version, and where that manifest is.
Manifest = tuple[str, Mapping[str, str]]

# A package's name before `-dev`, `-devel` or `-cross-sbsa` and the release.
_PARTS = re.compile(r"(?P<name>.+?)(?:-(?:dev|devel|cross-[a-z0-9]+))?-\d+-\d+")
# The dots of a release that names its patch: 12.4.1.
_WHOLE = 2
# The first revision of NVIDIA's packages.
_REVISION = "-1"
# apt's "Version '1-1' for 'name' was not found" and "Unable to locate package name".
_QUOTED = re.compile(r"for '([^']+)'|package (\S+)")

_ARMOR = b"-----BEGIN PGP"
# The line that NVIDIA's own images remove from the key before they compare it.
_VERSION_LINE = re.compile(rb"^Version.*\n", re.MULTILINE)

_KEYRINGS = (
    "what a mirror signs with instead is named under [keyrings] nvidia in your configuration"
)


@dataclass(frozen=True)
class NvidiaMirror:
    """A mirror of NVIDIA's repositories. `read` returns the bytes at a path below its `url` or
    raises LookupFailed; `keyring` is the key file of a mirror that signs them itself."""

    url: str
    keyring: Path | None
    read: Callable[[str], bytes]

    @property
    def signer(self) -> str:
        return f"the key in `{self.keyring}`" if self.keyring else "NVIDIA's key"


@dataclass(frozen=True)
class NvidiaRepositories:
    """Repositories by name; what is made of them is stored in `directory`. `manifest` returns the
    versions of a CUDA release."""

    repositories: Mapping[str, NvidiaRepository]
    mirror: NvidiaMirror
    manifest: Callable[[str], Manifest]
    directory: Path

    def _refusal(
        self, program: str, path: str, error: LookupFailed, fingerprint: str | None = None
    ) -> LookupFailed:
        key = " ".join(filter(None, [self.mirror.signer, fingerprint]))
        return LookupFailed(
            f"{program} does not take `{path}` from {self.mirror.url}",
            details=error.details or [error.message],
            hint=f"it must be whole and signed with {key}; {_KEYRINGS}",
        )


@dataclass(frozen=True)
class FlatApt(Apt):
    """The archive's suite is the repository's path in the origin; its keyring is a file of keys
    and, after a comma, the fingerprint of the only one of them that counts, if one does."""

    @property
    def source(self) -> str:
        archive = self.archive
        return f"deb [signed-by={archive.distribution.keyring}] {self.mirror}/{archive.suite}/ /"


@dataclass(frozen=True)
class NvidiaApt(NvidiaRepositories):
    """The repositories for apt, whose indexes are in `directory`."""

    run: Run
    _apts: dict[tuple[str, str, str], Apt] = field(default_factory=dict)

    def resolve(self, request: RepositoryRequest, _sets: object) -> PackageSet:
        names = [str(pin) for pin in pins(request.packages, request.release, self.manifest)]
        key = request.repository, request.cross, request.arch
        if key not in self._apts:
            self._apts[key] = self._apt(*key)
        apt = self._apts[key]
        try:
            return PackageSet(request, apt.exactly(names))
        except LookupFailed as error:
            pairs = [pair for line in error.details for pair in _QUOTED.findall(line)]
            quoted = {name for pair in pairs for name in pair}
            missing = [name for name in names if name.partition("=")[0] in quoted]
            if missing:
                raise _absence_error(apt.archive.suite, missing, error) from None
            raise

    def _apt(self, name: str, cross: str, arch: str) -> Apt:
        repository, keyring = self.repositories[name], self.mirror.keyring
        section = f"cross-linux-{cross}" if cross else MACHINES[arch].nvidia
        path = f"cuda/repos/{name}/{section}"
        own = f"{name}-{section}" if cross else name
        directory = self.directory / f"nvidia-{own}-{arch}"
        key = keyring.read_bytes() if keyring else self.mirror.read(f"{path}/{repository.key}")
        # Of NVIDIA's keys one counts, of a file that the user names all.
        fingerprint = None if keyring else str(repository.fingerprint)
        # apt tells the two forms of a key apart by the file's name.
        file = directory / ("key.asc" if is_armored(key) else "key.gpg")
        directory.mkdir(parents=True)
        file.write_bytes(key)
        signed_by = ",".join(filter(None, [str(file), fingerprint]))
        nvidia = Distribution(NVIDIA, (NVIDIA,), keyring=signed_by)
        # What is for cross compiling is for all architectures, of which apt has to know one.
        archive = Archive(nvidia, NVIDIA, path, "arm64" if cross else arch)
        apt = FlatApt(directory, archive, self.mirror.url, self.run)
        try:
            apt.update()
        except LookupFailed as error:
            raise self._refusal("apt", path, error, fingerprint) from error
        return apt


@dataclass(frozen=True)
class NvidiaDnf(NvidiaRepositories):
    """The repositories for dnf, whose keys are in `directory`."""

    def resolve(self, request: RepositoryRequest, sets: ResolvedSets) -> PackageSet:
        home = sets.home(request.repository)
        repository = self.repository(request.repository, request.arch)
        manager = sets.backend.rpm_manager_in_base(home, repository)
        names = [*map(rpm_name, pins(request.packages, request.release, self.manifest))]
        try:
            return PackageSet(request, manager.exactly(names))
        except LookupFailed as error:
            (path,) = repository.paths
            endings = tuple(line.rpartition(": ")[2] for line in error.details)
            missing = [name for name in names if name in endings]
            if missing:
                raise _absence_error(path, missing, error) from error
            raise self._refusal("the base's package manager", path, error) from error

    def repository(self, name: str, arch: str) -> Repositories:
        path = f"cuda/repos/{name}/{MACHINES[arch].nvidia}"
        file, keyring = self.directory / f"{name}.pub", self.mirror.keyring
        if not file.exists():
            key = keyring.read_bytes() if keyring else self._key(self.repositories[name], path)
            self.directory.mkdir(parents=True, exist_ok=True)
            file.write_bytes(key)
        url = self.mirror.url
        return Repositories(f"nvidia-{name}-{arch}", NVIDIA, url, (path,), arch, "", file)

    def _key(self, repository: NvidiaRepository, path: str) -> bytes:
        key = self.mirror.read(f"{path}/{repository.key}")
        digest = hashlib.sha256(_VERSION_LINE.sub(b"", key)).hexdigest()
        if digest != repository.sha256:
            raise LookupFailed(
                f"`{path}/{repository.key}` is not NVIDIA's key: its sha256 is {digest}",
                details=[f"NVIDIA's is {repository.sha256}"],
                hint=_KEYRINGS,
            )
        return key


def is_armored(key: bytes) -> bool:
    """Return whether a file of keys is text."""
    return _ARMOR in key


def _absence_error(path: str, missing: Sequence[str], error: LookupFailed) -> LookupFailed:
    """Return the error about packages missing from the repository at `path`."""
    return LookupFailed(
        f"`{path}` does not have {', '.join(f'`{name}`' for name in missing)}",
        details=error.details,
        hint="a release of two parts is the newest patch that it has; another source can be named "
        "under `sources`",
    )


def pins(
    packages: Sequence[PackageSpec], release: str, manifest: Callable[[str], Manifest]
) -> list[PackageSpec]:
    """Pin packages: one without a version has that of the `manifest` of a release of three parts,
    or is the newest of a release of two."""
    return [
        replace(package, version=package.version or _version(package.name, release, manifest))
        for package in packages
    ]


def rpm_name(package: PackageSpec) -> str:
    return "-".join(filter(None, (package.name, package.version)))


def _version(name: str, release: str, manifest: Callable[[str], Manifest]) -> str:
    """Return version and revision of a package; empty for the newest."""
    names = _names(name, release) if release.count(".") == _WHOLE else ("newest",)
    if names == ("newest",):
        return ""
    if names == ("release",):
        return f"{release}{_REVISION}"
    file, versions = manifest(release)
    shipped = next((versions[key] for key in names if key in versions), None)
    if shipped is None:
        raise LookupFailed(f"`{file}` has no `{names[0]}`, whose version `{name}` has")
    return f"{shipped}{_REVISION}"


def _names(name: str, release: str) -> Sequence[str]:
    parts = _PARTS.fullmatch(name)
    try:
        return manifest_names()[parts["name"] if parts else name]
    except KeyError as error:
        raise LookupFailed(
            f"it is not known whose version `{name}` has in CUDA {release}",
            hint="a release of two parts is the newest patch that the repository has",
        ) from error
